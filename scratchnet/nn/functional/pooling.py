"""Pooling as functions, named as in PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchnet.nn.functional.convolution import SPACE, Sizes, sizes
from scratchnet.ops import pooling
from scratchnet.ops.pooling import Line
from scratchnet.ops.resampling import pick
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor

OutputSizes = int | None | Sequence[int | None]
Pool = Callable[..., Any]


def _check(caller: str, x: Tensor, dimensions: int) -> None:
    if x.ndim not in (dimensions + 1, dimensions + 2):
        raise ValueError(
            f"{caller} needs an input of shape (batch, channels, {SPACE[dimensions]}), or without the batch, "
            f"got shape {x.shape}"
        )


def _lines(
    caller: str,
    x: Tensor,
    dimensions: int,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> list[Line]:
    """The windows along each axis of space."""
    _check(caller, x, dimensions)
    kernel = sizes(caller, "kernel_size", kernel_size, dimensions, 1)
    steps = kernel if stride is None else sizes(caller, "stride", stride, dimensions, 1)
    edges = sizes(caller, "padding", padding, dimensions, 0)
    gaps = sizes(caller, "dilation", dilation, dimensions, 1)
    lines = []
    for axis, k, s, p, d in zip(range(x.ndim - dimensions, x.ndim), kernel, steps, edges, gaps, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise ValueError(f"{caller} needs padding of at most half its kernel of {k}, got {p}")
        size = x.shape[axis]
        output = _count(size, k, s, p, d, ceil_mode)
        if output < 1:
            raise ValueError(
                f"{caller} needs a padded input at least as large as its kernel of {kernel} with dilation "
                f"{gaps}, got shape {x.shape} with padding {edges}"
            )
        lines.append(Line(axis, size, output, k, s, p, d))
    return lines


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are; with ``ceil_mode`` also one that reaches over the end, if it begins before it."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - ((count - 1) * stride >= size + padding)


def _pooled(pool: Pool, x: Any, lines: Sequence[Line]) -> Any:
    # The last axis first: where elements are equally large the first in reading order is then the maximum.
    for line in reversed(lines):
        x = pool(x, line=line)
    return x


def max_pool1d(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window; the gradient goes to the first element that is as large.

    Args:
        input: Shape ``(batch, channels, length)``, or without the batch.
        kernel_size: Taps a window, k.
        stride: Steps from window to window, s; the kernel's size if None.
        padding: Places on both sides that count for nothing, p; at most half the kernel.
        dilation: Steps from tap to tap, d.
        ceil_mode: True keeps a last window that reaches over the end.

    Returns:
        The length becomes ⌊(length + 2p − d (k − 1) − 1) / s⌋ + 1, or ⌈…⌉ with ``ceil_mode``.

    Raises:
        ValueError: If the shape does not fit, or the kernel is larger than the padded input.

    Example:
        >>> max_pool1d(np.array([[1.0, 4.0, 2.0, 3.0]]), 2).numpy()
        array([[4., 3.]])
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Any,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each rectangle; see `max_pool1d`, of which each axis of space is one.

    Args:
        input: Shape ``(batch, channels, height, width)``, or without the batch.
        kernel_size: Taps a window, one number or one an axis, as all below.
        stride: Steps from window to window; the kernel's size if None.
        padding: Places on both sides that count for nothing; at most half the kernel.
        dilation: Steps from tap to tap.
        ceil_mode: True keeps last windows that reach over the end.

    Raises:
        ValueError: If the shape does not fit, or the kernel is larger than the padded input.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)


def _max_pool(
    caller: str,
    dimensions: int,
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Tensor:
    x = as_tensor(x)
    lines = _lines(caller, x, dimensions, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(pooling.maximum, x, lines)


def avg_pool1d(
    input: Any,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window, Σ x / k; each element's gradient is Σ ȳ / k over the windows that it lies in.

    Args:
        input: Shape ``(batch, channels, length)``, or without the batch.
        kernel_size: Elements a window, k.
        stride: Steps from window to window; the kernel's size if None.
        padding: Zeros on both sides, at most half the kernel.
        ceil_mode: True keeps a last window that reaches over the end.
        count_include_pad: False leaves the padding out of the count that is divided by.

    Raises:
        ValueError: If the shape does not fit, or the kernel is larger than the padded input.

    Example:
        >>> avg_pool1d(np.array([[1.0, 4.0, 2.0, 3.0]]), 2).numpy()
        array([[2.5, 2.5]])
    """
    return _average("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Any,  # noqa: A002
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each rectangle; see `avg_pool1d`, of which each axis of space is one.

    Args:
        input: Shape ``(batch, channels, height, width)``, or without the batch.
        kernel_size: Elements a window, one number or one an axis, as below.
        stride: Steps from window to window; the kernel's size if None.
        padding: Zeros on both sides, at most half the kernel.
        ceil_mode: True keeps last windows that reach over the end.
        count_include_pad: False leaves the padding out of the count that is divided by.
        divisor_override: What the sum is divided by instead of the count.

    Raises:
        ValueError: If the shape does not fit, the kernel is larger than the padded input, or the divisor is 0.
    """
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _average("avg_pool2d", 2, input, *options)


def _average(
    caller: str,
    dimensions: int,
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Tensor:
    x = as_tensor(x)
    if divisor == 0:
        raise ValueError(f"{caller} needs a divisor_override other than 0")
    lines = _lines(caller, x, dimensions, kernel_size, stride, padding, 1, ceil_mode)
    total = _pooled(pooling.window_sum, x, lines)
    if divisor is not None:
        return total * (1 / divisor)
    counts = np.ones(())
    for line in lines:
        counts = np.multiply.outer(counts, _counts(line, count_include_pad))
    is_even = bool(np.all(counts == counts.flat[0]))
    return total * (1 / float(counts.flat[0]) if is_even else (1 / counts).astype(x.dtype))


def _counts(line: Line, count_include_pad: bool) -> Array:
    """How many elements each window has."""
    edge = line.padding if count_include_pad else 0
    starts = np.arange(line.output) * line.stride - line.padding
    stops = np.minimum(starts + line.kernel, line.size + line.padding)
    if not count_include_pad:
        starts, stops = np.maximum(starts, 0), np.minimum(stops, line.size + edge)
    # A window that lies in the padding alone has no sum to divide either.
    return np.maximum(stops - starts, 1)


# ------------------------------------------------------------------------------------------- adaptive


def adaptive_avg_pool1d(input: Any, output_size: OutputSizes) -> Tensor:  # noqa: A002
    """The means of as many stretches as are wanted: stretch i goes from ⌊i n/m⌋ to ⌈(i + 1) n/m⌉.

    Args:
        input: Shape ``(batch, channels, length)``, or without the batch.
        output_size: The wanted length m; None keeps it.

    Raises:
        ValueError: If the shape does not fit.

    Example:
        >>> adaptive_avg_pool1d(np.array([[1.0, 4.0, 2.0, 3.0]]), 1).numpy()
        array([[2.5]])
    """
    return _adaptive_average("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: OutputSizes) -> Tensor:  # noqa: A002
    """The means of as many rectangles as are wanted; see `adaptive_avg_pool1d`.

    Args:
        input: Shape ``(batch, channels, height, width)``, or without the batch.
        output_size: Wanted height and width, one number for both; None keeps what there is.

    Raises:
        ValueError: If the shape does not fit.
    """
    return _adaptive_average("adaptive_avg_pool2d", 2, input, output_size)


def _adaptive_average(caller: str, dimensions: int, x: Any, output_size: OutputSizes) -> Tensor:
    x = as_tensor(x)
    wanted = _wanted(caller, x, dimensions, output_size)
    for axis, output in zip(range(x.ndim - dimensions, x.ndim), wanted, strict=True):
        size = x.shape[axis]
        line = _even(axis, size, output)
        if line is not None:
            x = pooling.window_sum(x, line=line) * (1 / line.kernel)
            continue
        starts, stops = _stretches(size, output)
        places = np.arange(size)
        inside = (starts[:, None] <= places) & (places < stops[:, None])
        x = _along(x, axis, (inside / (stops - starts)[:, None]).astype(x.dtype))
    return x


def _along(x: Tensor, axis: int, matrix: Array) -> Tensor:
    """The matrix times each vector along an axis."""
    last = [*(other for other in range(x.ndim) if other != axis), axis]
    return (x.transpose(*last) @ matrix.T).transpose(*np.argsort(last).tolist())


def adaptive_max_pool1d(input: Any, output_size: OutputSizes) -> Tensor:  # noqa: A002
    """The largest elements of as many stretches as are wanted: stretch i goes from ⌊i n/m⌋ to ⌈(i + 1) n/m⌉.

    Args:
        input: Shape ``(batch, channels, length)``, or without the batch.
        output_size: The wanted length m; None keeps it.

    Raises:
        ValueError: If the shape does not fit.
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size)


def adaptive_max_pool2d(input: Any, output_size: OutputSizes) -> Tensor:  # noqa: A002
    """The largest elements of as many rectangles as are wanted; see `adaptive_max_pool1d`.

    Args:
        input: Shape ``(batch, channels, height, width)``, or without the batch.
        output_size: Wanted height and width, one number for both; None keeps what there is.

    Raises:
        ValueError: If the shape does not fit.
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size)


def _adaptive_max(caller: str, dimensions: int, x: Any, output_size: OutputSizes) -> Tensor:
    x = as_tensor(x)
    wanted = _wanted(caller, x, dimensions, output_size)
    for axis, output in reversed(list(zip(range(x.ndim - dimensions, x.ndim), wanted, strict=True))):
        size = x.shape[axis]
        line = _even(axis, size, output)
        if line is None:
            starts, stops = _stretches(size, output)
            kernel = int((stops - starts).max())
            # A short stretch repeats its last element, which changes no maximum.
            index = np.minimum(starts[:, None] + np.arange(kernel), stops[:, None] - 1).ravel()
            x = pick(x, index=index, axis=axis, size=size)
            line = Line(axis, index.size, output, kernel, kernel, 0, 1)
        x = pooling.maximum(x, line=line)
    return x


def _wanted(caller: str, x: Tensor, dimensions: int, output_size: OutputSizes) -> list[int]:
    _check(caller, x, dimensions)
    given = list(output_size) if isinstance(output_size, Sequence) else [output_size] * dimensions
    space = x.shape[-dimensions:]
    if len(given) != dimensions or any(number is not None and number < 1 for number in given) or 0 in space:
        raise ValueError(
            f"{caller} needs output_size to be one number >= 1 (or None) or {dimensions}, and elements to pool, "
            f"got {output_size} for an input of shape {x.shape}"
        )
    return [n if number is None else number for number, n in zip(given, space, strict=True)]


def _even(axis: int, size: int, output: int) -> Line | None:
    """The stretches as windows, where all are equally long and none overlap."""
    kernel, rest = divmod(size, output)
    return None if rest or not kernel else Line(axis, size, output, kernel, kernel, 0, 1)


def _stretches(size: int, output: int) -> tuple[Array, Array]:
    number = np.arange(output)
    return number * size // output, -(-(number + 1) * size // output)
