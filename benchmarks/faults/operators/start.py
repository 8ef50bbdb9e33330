"""Faults of the first weights."""

from typing import Any

from benchmarks.faults.operators.operator import Operator, has_blocks, is_rectified
from benchmarks.faults.program import Program

_WHERE = ("head", "first", "all")


def _constant(value: float) -> Any:
    return lambda program, where: program.but("start", constant=value, constant_in=where)


def _layers_of(_program: Program, where: str) -> tuple[str, ...]:
    return {"head": ("head",), "first": ("hidden1", "act1"), "all": ()}[where]


def _start(field: str) -> Any:
    return lambda program, dose: program.but("start", **{field: dose})


OPERATORS = (
    Operator(
        "attention starts too sharp",
        (1.5, 12.0, 100.0),
        _start("attention_gain"),
        "pathologies 58",
        lambda program: program.network.architecture == "transformer",
        layers=lambda program, _dose: tuple(
            f"hidden{block}" for block in range(1, program.network.depth + 1)
        ),
    ),
    Operator("weights start at zero", _WHERE, _constant(0.0), "DeepCrime WCI", layers=_layers_of),
    Operator("weights start alike", _WHERE, _constant(0.05), "DeepCrime WCI", has_blocks, layers=_layers_of),
    Operator("weights start too large", (1.5, 6.0, 40.0), _start("gain"), "DeepCrime WCI"),
    Operator("weights start too small", (0.7, 0.1, 3e-3), _start("gain"), "DeepCrime WCI"),
    Operator(
        "head starts too large",
        (2.0, 30.0, 300.0),
        _start("head_gain"),
        "TheDeepChecker, synthetic: over-scaled outputs",
        layers=lambda _program, _dose: ("head",),
    ),
    Operator(
        "biases start below zero",
        (-0.3, -3.0, -20.0),
        lambda program, dose: program.but("start", bias=dose, biased=1),
        "pathologies 18 and 36",
        is_rectified,
        layers=lambda _program, _dose: ("hidden1", "act1"),
    ),
)
