"""Faults that can be put into a program, by subject."""

from benchmarks.faults.operators import data, descent, loop, network, start
from benchmarks.faults.operators.operator import DOSES, Operator

__all__ = ["DOSES", "OPERATORS", "Operator"]

OPERATORS: tuple[Operator, ...] = tuple(
    operator for module in (data, start, network, loop, descent) for operator in module.OPERATORS
)
