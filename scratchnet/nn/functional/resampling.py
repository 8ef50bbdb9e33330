"""Padding and resizing as functions, named as in PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.ops import resampling
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor

LINEAR = {"linear": 3, "bilinear": 4}
NEAREST = ("nearest", "nearest-exact")


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:  # noqa: A002
    """Frames the last axes with a constant; a width below zero cuts off instead.

    Args:
        input: Any shape.
        pad: Widths before and after the last axis, then those of the one before it, and so on.
        mode: ``"constant"``.
        value: What the frame holds; 0 if None.

    Raises:
        TypeError: If the widths are no sequence of whole numbers.
        ValueError: If they do not fit the shape, or the mode is another.

    Example:
        >>> pad(np.array([1.0, 2.0]), (1, 0)).numpy()
        array([0., 1., 2.])
    """
    x = as_tensor(input)
    if mode != "constant":
        raise ValueError(
            f"pad needs mode 'constant', got {mode!r}; index the input where it shall be repeated or reflected, "
            f"as in x[..., [1, 0, 1, 2]]"
        )
    if not isinstance(pad, Sequence) or not all(isinstance(width, int | np.integer) for width in pad):
        raise TypeError(f"pad needs a sequence of whole numbers as widths, got {pad!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(
            f"pad needs two widths for each of at most {x.ndim} axes of its input of shape {x.shape}, "
            f"got {tuple(pad)}; give widths before and after the last axis, then those of the one before it"
        )
    pairs = [(int(low), int(high)) for low, high in zip(pad[::2], pad[1::2], strict=True)]
    widths = ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))
    if any(n + min(low, 0) + min(high, 0) < 0 for n, (low, high) in zip(x.shape, widths, strict=True)):
        raise ValueError(f"pad needs widths that leave no axis below 0, got {tuple(pad)} for shape {x.shape}")
    return resampling.pad(x, widths=widths, value=0.0 if value is None else float(value))


def interpolate(
    input: Any,  # noqa: A002
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resizes space: each new element is the nearest old one, or lies on the line between two.

    Place j of an axis of n elements, resized to m, lies at (j + ½) n/m − ½ of the old axis, or at
    j (n − 1)/(m − 1) with ``align_corners``; ``"nearest"`` takes ⌊j n/m⌋. Each gradient is spread as its
    element was gathered. Where ``scale_factor`` is given, its inverse stands for n/m.

    Args:
        input: Shape ``(batch, channels, length)`` or ``(batch, channels, height, width)``.
        size: New size, one number or one an axis; or else
        scale_factor: How much larger, one number or one an axis.
        mode: ``"nearest"``, ``"nearest-exact"`` (of the centres), ``"linear"`` or ``"bilinear"``.
        align_corners: True puts the outermost elements onto the outermost; for lines only.

    Raises:
        ValueError: If the shape or an argument does not fit.

    Example:
        >>> interpolate(np.array([[[1.0, 2.0]]]), scale_factor=2).numpy()
        array([[[1., 1., 2., 2.]]])
    """
    x = as_tensor(input)
    dimensions = x.ndim - 2
    _check(x, mode, align_corners)
    outputs, steps = _resized(x, dimensions, size, scale_factor)
    for axis, output, step in zip(range(2, x.ndim), outputs, steps, strict=True):
        if mode in NEAREST:
            index = _nearest(x.shape[axis], output, step, 0.5 if mode == "nearest-exact" else 0.0)
            x = resampling.pick(x, index=index, axis=axis, size=x.shape[axis])
        elif output != x.shape[axis]:
            # An axis that keeps its size stays as it is, as in PyTorch, even for a factor like 1.2.
            x = _on_the_line(x, axis, _places(x.shape[axis], output, step, bool(align_corners)))
    return x


def _check(x: Tensor, mode: str, align_corners: bool | None) -> None:
    if mode not in (*NEAREST, *LINEAR):
        raise ValueError(f"interpolate needs mode {', '.join((*NEAREST, *LINEAR))}, got {mode!r}")
    if align_corners is not None and mode in NEAREST:
        raise ValueError(f"interpolate needs a mode of lines for align_corners, got {mode!r}")
    axes = (LINEAR[mode],) if mode in LINEAR else (3, 4)
    if x.ndim not in axes or 0 in x.shape[1:]:
        raise ValueError(
            f"interpolate needs a batch with channels and space, of {' or '.join(map(str, axes))} axes none of "
            f"them empty, for mode {mode!r}, got shape {x.shape}"
        )


def _resized(
    x: Tensor, dimensions: int, size: Any, scale_factor: Any
) -> tuple[list[int], list[float | None]]:
    """The new size of each axis, and how far apart its places lie if the caller has said so."""
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate needs either size or scale_factor, got {size} and {scale_factor}")
    given = scale_factor if size is None else size
    numbers = list(given) if isinstance(given, Sequence) else [given] * dimensions
    if len(numbers) != dimensions:
        raise ValueError(f"interpolate needs one number or {dimensions} for shape {x.shape}, got {given}")
    outputs = (
        [int(n) for n in numbers]
        if scale_factor is None
        else [int(np.floor(float(n * factor))) for n, factor in zip(x.shape[2:], numbers, strict=True)]
    )
    if min(outputs) < 1:
        raise ValueError(f"interpolate needs a new size of at least 1, got {outputs} for shape {x.shape}")
    return outputs, [None] * dimensions if scale_factor is None else [1 / factor for factor in numbers]


def _nearest(size: int, output: int, step: float | None, shift: float) -> Array:
    # In float32 as PyTorch computes it, for there the last bit decides about the neighbour.
    scale = np.float32(size / output if step is None else step)
    places = np.floor((np.arange(output, dtype=np.float32) + np.float32(shift)) * scale)
    return np.minimum(places.astype(int), size - 1)


def _places(size: int, output: int, step: float | None, align_corners: bool) -> Array:
    if align_corners:
        return np.arange(output) * ((size - 1) / (output - 1) if output > 1 else 0.0)
    places = (np.arange(output) + 0.5) * (size / output if step is None else step) - 0.5
    return np.maximum(places, 0)


def _on_the_line(x: Tensor, axis: int, places: Array) -> Tensor:
    size = x.shape[axis]
    left = np.minimum(places.astype(int), size - 1)
    shares = (places - left).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
    shares = np.minimum(shares, 1)
    low = resampling.pick(x, index=left, axis=axis, size=size)
    high = resampling.pick(x, index=np.minimum(left + 1, size - 1), axis=axis, size=size)
    return low * (1 - shares) + high * shares
