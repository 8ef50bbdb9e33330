"""Several tensors as one."""

from collections.abc import Sequence
from typing import Any

from scratchnet.axis import axis_of
from scratchnet.ops.shape import concatenate
from scratchnet.tensor import Tensor, as_tensor


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors one after another along an axis that they have; each gets its own part of the gradient.

    Args:
        tensors: At least one, of the same shape but for the size along ``dim``.
        dim: The axis, negative ones counted from the end.

    Raises:
        ValueError: If there is no tensor, a shape does not fit, or there is no such axis.

    Example:
        >>> cat([Tensor([1.0, 2.0]), Tensor([3.0])]).numpy().tolist()
        [1.0, 2.0, 3.0]
    """
    parts = _parts("cat", tensors)
    if not parts[0].ndim:
        raise ValueError(
            "cat needs tensors with an axis, got a number; use stack to put numbers side by side"
        )
    axis = axis_of("cat", parts[0].shape, dim)
    sides = [part.shape[:axis] + part.shape[axis + 1 :] for part in parts]
    if any(side != sides[0] for side in sides) or any(part.ndim != parts[0].ndim for part in parts):
        raise ValueError(
            f"cat needs tensors of one shape but for axis {dim}, got {[part.shape for part in parts]}; "
            f"reshape or broadcast them first"
        )
    return as_tensor(concatenate(parts, axis))


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors side by side along a new axis.

    Args:
        tensors: At least one, all of the same shape.
        dim: Where the new axis stands in the result, negative ones counted from the end.

    Raises:
        ValueError: If there is no tensor, a shape does not fit, or there is no such place.

    Example:
        >>> stack([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])], dim=1).numpy().tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    parts = _parts("stack", tensors)
    shape = parts[0].shape
    if any(part.shape != shape for part in parts):
        raise ValueError(
            f"stack needs tensors of one shape, got {[part.shape for part in parts]}; "
            f"use cat to put unequal ones one after another"
        )
    count = len(shape) + 1
    if not -count <= dim < count:
        raise ValueError(f"stack needs a place for its new axis in {-count}..{count - 1}, got {dim}")
    axis = dim % count
    return cat([part.reshape(*shape[:axis], 1, *shape[axis:]) for part in parts], axis)


def _parts(caller: str, tensors: Sequence[Any]) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not len(tensors):
        came = "one tensor" if isinstance(tensors, Tensor) else "none"
        raise ValueError(f"{caller} needs a list of at least one tensor, got {came}")
    return [as_tensor(value) for value in tensors]
