"""What a primitive is checked on: one table entry."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scratchnet.tape import Array, Primitive

NUMBERS = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """One primitive on some inputs.

    ``oracle`` says how its raw function is differentiated: by a complex step, which is exact to
    rounding but needs an analytic function, or by a central difference, which takes any.
    """

    name: str
    primitive: Primitive
    inputs: tuple[Any, ...]
    constants: dict[str, Any]
    oracle: Literal["complex", "central"]

    @property
    def differentiable(self) -> list[int]:
        """Positions of the inputs that have a gradient."""
        given = [position for position, x in enumerate(self.inputs) if x is not None]
        if not self.primitive.rules:
            return given
        return [position for position in given if self.primitive.rules[position] is not None]


def case(
    primitive: Primitive,
    *inputs: Any,
    name: str = "",
    oracle: Literal["complex", "central"] = "complex",
    **constants: Any,
) -> Case:
    """A case; the name is added to the primitive's."""
    label = f"{primitive.name}{'-' if name else ''}{name}"
    return Case(
        label, primitive, tuple(x if x is None else np.asarray(x, float) for x in inputs), constants, oracle
    )


def normal(*size: int) -> Array:
    """Standard normal numbers."""
    return NUMBERS.standard_normal(size)


def positive(*size: int) -> Array:
    """Numbers in [0.5, 2)."""
    return NUMBERS.uniform(0.5, 2.0, size)


def off_the_kink(*size: int) -> Array:
    """Numbers of both signs, none near zero."""
    return positive(*size) * NUMBERS.choice([-1.0, 1.0], size)
