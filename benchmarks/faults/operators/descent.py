"""Faults of the optimiser and its schedule."""

from dataclasses import replace
from typing import Any

from benchmarks.faults.operators.operator import Operator, is_adam, is_sgd
from benchmarks.faults.program import Descent, Program


def _rate(program: Program, factor: float) -> Program:
    return program.but("descent", lr=program.descent.lr * factor)


def _option(name: str) -> Any:
    """An injection that gives the dose to an argument of the optimiser."""
    return lambda program, dose: replace(program, descent=program.descent.option(**{name: dose}))


def _decay(program: Program, strength: float) -> Program:
    # Decoupled decay pulls by the learning rate alone, not by what the gradient is divided by.
    factor = 30 if program.descent.kind == "AdamW" else 1
    return replace(program, descent=program.descent.option(weight_decay=factor * strength))


def _schedule(name: str) -> Any:
    return lambda program, strength: program.but("descent", schedule=name, strength=strength)


def _other(program: Program, kind: str) -> Program:
    """Another optimiser, with the learning rate of the old one."""
    return replace(program, descent=Descent(kind, program.descent.lr))


OPERATORS = (
    Operator("learning rate too high", (3.0, 30.0, 300.0), _rate, "DeepCrime HLR"),
    Operator("learning rate too low", (0.5, 0.03, 1e-4), _rate, "DeepCrime HLR"),
    Operator("learning rate leaps", (1.5, 30.0, 300.0), _schedule("leap"), "schedule"),
    Operator(
        "schedule by step, not by pass", (0.999, 0.97, 0.7), _schedule("decay a step"), "loop (TrainCheck)"
    ),
    Operator("schedule decays too fast", (0.95, 0.3, 1e-3), _schedule("decay a pass"), "pathologies 32"),
    Operator("momentum too high", (0.92, 0.99, 0.999), _option("momentum"), "DeepCrime OCH", is_sgd),
    Operator("epsilon too large", (1e-7, 1e-1, 30.0), _option("eps"), "TheDeepChecker: epsilon", is_adam),
    Operator("weight decay too strong", (1e-5, 3e-2, 1.0), _decay, "DeepCrime RAW"),
    Operator(
        "clipped too short",
        (10.0, 1e-2, 1e-4),
        lambda program, norm: program.but("descent", clip=norm),
        "DeepCrime OCH: clip",
        is_sgd,
    ),
    Operator("another optimiser", ("NAdam", "Adagrad", "SGD"), _other, "DeepCrime OCH", is_adam),
)
