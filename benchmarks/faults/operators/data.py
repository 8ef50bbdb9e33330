"""Faults of the data and the targets."""

from typing import Any

from benchmarks.faults.operators.operator import Operator, is_classifier, is_regression
from benchmarks.faults.program import Program

DEEPCRIME = "DeepCrime"
DEEPCHECKER = "TheDeepChecker, synthetic"


def _data(field: str) -> Any:
    """An injection that gives the dose to a field of the data."""
    return lambda program, dose: program.but("data", **{field: dose})


def _unscaled_target(program: Program, dose: float) -> Program:
    return program.but("data", target_scale=dose, target_shift=2 * dose)


OPERATORS = (
    Operator("inputs far too large", (3.0, 30.0, 300.0), _data("scale"), f"{DEEPCHECKER}: normalisation"),
    Operator(
        "inputs far too small", (0.3, 3e-3, 1e-4), _data("scale"), f"{DEEPCHECKER}: double normalisation"
    ),
    Operator("inputs far from zero", (1.0, 20.0, 300.0), _data("shift"), f"{DEEPCHECKER}: normalisation"),
    Operator("inputs blank", (0.25, 0.75, 1.0), _data("blanked"), "pathologies 3 and 8"),
    Operator("inputs with a NaN", (1, 5, 25), _data("broken"), "pathologies 3"),
    Operator("noise on inputs", (0.1, 1.0, 5.0), _data("noise"), f"{DEEPCRIME} TAN"),
    Operator(
        "targets not scaled", (3.0, 30.0, 1000.0), _unscaled_target, "pathologies 4", fits=is_regression
    ),
    Operator("labels changed", (0.05, 0.5, 0.95), _data("wrong_labels"), f"{DEEPCRIME} TCL"),
    Operator(
        "labels dealt among others", (0.05, 0.5, 1.0), _data("mispaired"), f"{DEEPCHECKER}: shuffled labels"
    ),
    Operator("classes overlap", (0.1, 0.6, 1.0), _data("relabelled"), f"{DEEPCRIME} TCO", fits=is_classifier),
    Operator(
        "classes unbalanced", (0.3, 0.9, 0.99), _data("rarefied"), f"{DEEPCRIME} TUD", fits=is_classifier
    ),
    Operator("training data deleted", (0.8, 0.2, 0.04), _data("kept"), f"{DEEPCRIME} TRD"),
    Operator("not shuffled", (0.1, 0.6, 1.0), _data("sorted_share"), "loop: no shuffling"),
)
