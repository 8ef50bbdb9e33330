"""Layers that change the shape alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.axis import axis_of
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor, as_tensor


class Flatten(Module):
    """Lays neighbouring axes flat, all but the batch's by default; x̄ is ȳ in the shape of x.

    Args:
        start_dim: First of the axes that become one.
        end_dim: Last of them.

    Shape:
        ``(batch, *sizes)`` to ``(batch, product of the sizes)``.

    Raises:
        ValueError: If the first comes after the last.
        AxisError: If the input has no such axes.

    Example:
        >>> Flatten()(np.zeros((2, 3, 4))).shape
        (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        x = as_tensor(x)
        start = axis_of("Flatten", x.shape, self.start_dim, "start_dim")
        end = axis_of("Flatten", x.shape, self.end_dim, "end_dim")
        if start > end:
            raise ValueError(
                f"Flatten needs start_dim before end_dim, got {self.start_dim} and {self.end_dim} for an input "
                f"of shape {x.shape}"
            )
        flat = int(np.prod(x.shape[start : end + 1]))
        return x.reshape(*x.shape[:start], flat, *x.shape[end + 1 :])

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Folds one axis into several; x̄ is ȳ in the shape of x.

    Args:
        dim: The axis.
        unflattened_size: Sizes of the axes that it becomes; one of them may be −1.

    Raises:
        ValueError: If the sizes do not multiply to that of the axis.
        AxisError: If the input has no such axis.

    Example:
        >>> Unflatten(1, (3, 4))(np.zeros((2, 12))).shape
        (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        x = as_tensor(x)
        axis = axis_of("Unflatten", x.shape, self.dim)
        sizes = _completed(self.unflattened_size, x.shape[axis])
        if int(np.prod(sizes)) != x.shape[axis]:
            raise ValueError(
                f"Unflatten needs sizes whose product is axis {self.dim} of its input of shape {x.shape}, "
                f"got {self.unflattened_size}"
            )
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _completed(sizes: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The sizes, with what is left of the axis in the place of one −1."""
    known = int(np.prod([number for number in sizes if number != -1]))
    return sizes if sizes.count(-1) != 1 else tuple(size // max(known, 1) if n == -1 else n for n in sizes)
