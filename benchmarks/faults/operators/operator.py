"""What an operator is: a fault that can be put into a program, in three doses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.faults.program import Program

DOSES = ("sub-clinical", "mild", "severe")


def _always(_program: Program) -> bool:
    return True


def _nowhere(_program: Program, _dose: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Operator:
    """A fault in three doses.

    Attributes:
        name: Tells operators apart.
        doses: What ``inject`` takes: sub-clinical, mild, severe.
        inject: Gives the program with the fault.
        source: Where the operator comes from.
        fits: Whether a program can have the fault.
        layers: Names of the layers in which it sits, any of which is right; none where it has no layer.
    """

    name: str
    doses: tuple[Any, Any, Any]
    inject: Callable[[Program, Any], Program]
    source: str
    fits: Callable[[Program], bool] = _always
    layers: Callable[[Program, Any], tuple[str, ...]] = _nowhere


def is_classifier(program: Program) -> bool:
    """For faults of classes."""
    return program.is_classifier


def is_regression(program: Program) -> bool:
    """For faults of numbers."""
    return not program.is_classifier


def is_sgd(program: Program) -> bool:
    """For faults that an optimiser with steps of its own size does not feel."""
    return program.descent.kind == "SGD"


def is_adam(program: Program) -> bool:
    """For faults of such an optimiser."""
    return program.descent.kind in ("Adam", "AdamW")


def has_blocks(program: Program) -> bool:
    """Whether hidden blocks are a layer and a nonlinearity of our choice."""
    return program.network.architecture != "transformer"


def is_rectified(program: Program) -> bool:
    """Whether hidden blocks end in a ReLU that is a layer."""
    return has_blocks(program) and set(program.network.activations) == {"ReLU"}
