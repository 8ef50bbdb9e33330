"""What all losses share: what they are given, and how the losses of a batch become one number."""

import math
from typing import Any, Literal

import numpy as np

from scratchnet.tape import Array, Variable
from scratchnet.tensor import Tensor, as_tensor

Reduction = Literal["mean", "sum", "none"]


def check_reduction(caller: str, reduction: str, known: tuple[str, ...] = ("mean", "sum", "none")) -> None:
    """Refuses what is not among the known reductions."""
    if reduction not in known:
        listed = ", ".join(map(repr, known[:-1]))
        raise ValueError(f"{caller} needs reduction {listed} or {known[-1]!r}, got {reduction!r}")


def reduced(each: Tensor, reduction: Reduction) -> Tensor:
    """The losses themselves, their sum, or their mean, which is NaN where there are none, as in PyTorch."""
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() * share_of(each.size)


def share_of(count: float) -> float:
    """The weight of one of so many in their mean, a plain number; NaN if there are none."""
    return 1.0 / float(count) if count else math.nan


def floats(caller: str, value: Any) -> Tensor:
    """The value as a tensor of floats."""
    tensor = as_tensor(value)
    if tensor.array.dtype.kind != "f":
        raise TypeError(
            f"{caller} needs an input of floats, got {tensor.dtype}; convert it with .astype(float)"
        )
    return tensor


def like(x: Tensor, value: Any) -> Any:
    """A tensor of floats as it is; anything else as an array of x's dtype."""
    is_differentiable = isinstance(value, Variable) and value.array.dtype.kind == "f"
    return value if is_differentiable else np.asarray(value, x.dtype)


def plain(value: Any) -> Array:
    """The array of a tensor, or an array of plain data."""
    return value.array if isinstance(value, Variable) else np.asarray(value)


def check_same_shape(caller: str, x: Tensor, other: Any, name: str = "target") -> None:
    """Nothing is broadcast, for (batch, 1) against (batch,) is a mistake."""
    if np.shape(other) != x.array.shape:
        raise ValueError(
            f"{caller} needs a {name} of the input's shape {x.shape}, got {np.shape(other)}; reshape one of them"
        )
