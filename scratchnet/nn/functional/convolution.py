"""Convolutions as functions, named as in PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from scratchnet.ops import convolution
from scratchnet.ops.columns import Geometry, Size, Widths
from scratchnet.ops.resampling import pad as frame
from scratchnet.tape import Variable
from scratchnet.tensor import Tensor, as_tensor

Sizes = int | Sequence[int]
Padding = Sizes | Literal["same", "valid"]

# How many axes of space there are, and what they are called.
SPACE = {1: "length", 2: "height, width"}


def sizes(caller: str, name: str, value: Sizes | str, dimensions: int, least: int) -> Size:
    """One number for each axis of space; a single number stands for all."""
    given: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,)
    given = given * dimensions if len(given) == 1 else given
    if len(given) != dimensions or any(not isinstance(n, int | np.integer) or n < least for n in given):
        raise ValueError(
            f"{caller} needs {name} to be one whole number or {dimensions}, each >= {least}, got {value!r}"
        )
    return tuple(int(number) for number in given)


def conv1d(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Slides kernels over sequences, y[n, o, t] = b[o] + Σ w[o, i, k] x[n, i, s t + d k − p].

    Args:
        input: Shape ``(batch, inputs, length)``, or without the batch.
        weight: Shape ``(outputs, inputs / groups, kernel)``.
        bias: Shape ``(outputs,)``, or None.
        stride: Steps from window to window, s.
        padding: Zeros on both sides, p; ``"valid"`` for none, ``"same"`` for as many as keep the length.
        dilation: Steps from tap to tap inside a window, d.
        groups: Bands of channels that do not see each other.

    Returns:
        Shape ``(batch, outputs, ⌊(length + 2p − d (kernel − 1) − 1) / s⌋ + 1)``.

    Raises:
        ValueError: If shapes or arguments do not fit, or the kernel is larger than the padded input.

    Example:
        >>> conv1d(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, -1.0]]])).numpy()
        array([[[-1., -1.]]])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Slides kernels over images; see `conv1d`, of which each axis of space is one.

    Args:
        input: Shape ``(batch, inputs, height, width)``, or without the batch.
        weight: Shape ``(outputs, inputs / groups, kernel height, kernel width)``.
        bias: Shape ``(outputs,)``, or None.
        stride: Steps from window to window, one number or one an axis, as all below.
        padding: Zeros on both sides; ``"valid"`` for none, ``"same"`` for as many as keep the size.
        dilation: Steps from tap to tap inside a window.
        groups: Bands of channels that do not see each other.

    Raises:
        ValueError: If shapes or arguments do not fit, or the kernel is larger than the padded input.
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def _convolve(
    caller: str,
    dimensions: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    x, weight, bias = _plain(x), _plain(weight), _plain(bias)
    _check_weight(caller, dimensions, weight, bias, weight.shape[:1], groups)
    _check_input(caller, dimensions, x, weight, weight.shape[1] * groups)
    kernel = weight.shape[2:]
    steps = sizes(caller, "stride", stride, dimensions, 1)
    gaps = sizes(caller, "dilation", dilation, dimensions, 1)
    geometry = Geometry(steps, widths(caller, padding, kernel, steps, gaps), gaps, groups)
    if min(geometry.output_size(x.shape[-dimensions:], kernel)) < 1:
        raise ValueError(
            f"{caller} needs a padded input at least as large as its kernel of {kernel} with dilation {gaps}, "
            f"got an input of shape {x.shape} with padding {geometry.padding}"
        )
    return _batched(
        dimensions, x, lambda images: convolution.convolve(images, weight, bias, geometry=geometry)
    )


def widths(caller: str, padding: Padding, kernel: Size, stride: Size, dilation: Size) -> Widths:
    """The zeros before and after each axis of space."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(f"{caller} needs a stride of 1 for padding='same', got {stride}")
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((far // 2, far - far // 2) for far in reach)
    return tuple((width, width) for width in sizes(caller, "padding", padding, len(kernel), 0))


def conv_transpose1d(
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Spreads each element with a kernel, y[n, o, s t + d k − p] += w[i, o, k] x[n, i, t].

    It is the transpose of `conv1d` with the same arguments: what carries that one's gradient back. With a
    stride it enlarges.

    Args:
        input: Shape ``(batch, inputs, length)``, or without the batch.
        weight: Shape ``(inputs, outputs / groups, kernel)``.
        bias: Shape ``(outputs,)``, or None.
        stride: Steps between the places that neighbours are spread to, s.
        padding: What is cut off on both sides, p.
        output_padding: What is added at the end, q: smaller than the stride or the dilation.
        groups: Bands of channels that do not see each other.
        dilation: Steps from tap to tap, d.

    Returns:
        Shape ``(batch, outputs, (length − 1) s − 2p + d (kernel − 1) + q + 1)``.

    Raises:
        ValueError: If shapes or arguments do not fit, or nothing is left of the output.

    Example:
        >>> conv_transpose1d(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 1.0]]]), stride=2).numpy()
        array([[[1., 1., 2., 2.]]])
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _convolve_transposed("conv_transpose1d", 1, input, weight, bias, *options)


def conv_transpose2d(
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Spreads each element of images with a kernel; see `conv_transpose1d`, of which each axis is one.

    Args:
        input: Shape ``(batch, inputs, height, width)``, or without the batch.
        weight: Shape ``(inputs, outputs / groups, kernel height, kernel width)``.
        bias: Shape ``(outputs,)``, or None.
        stride: Steps between the places that neighbours are spread to.
        padding: What is cut off on both sides.
        output_padding: What is added at the end: smaller than the stride or the dilation.
        groups: Bands of channels that do not see each other.
        dilation: Steps from tap to tap.

    Raises:
        ValueError: If shapes or arguments do not fit, or nothing is left of the output.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _convolve_transposed("conv_transpose2d", 2, input, weight, bias, *options)


def _convolve_transposed(
    caller: str,
    dimensions: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    x, weight, bias = _plain(x), _plain(weight), _plain(bias)
    _check_weight(caller, dimensions, weight, bias, None, groups)
    _check_input(caller, dimensions, x, weight, weight.shape[0])
    steps = sizes(caller, "stride", stride, dimensions, 1)
    gaps = sizes(caller, "dilation", dilation, dimensions, 1)
    cut = sizes(caller, "padding", padding, dimensions, 0)
    extra = sizes(caller, "output_padding", output_padding, dimensions, 0)
    if any(q >= max(s, d) for q, s, d in zip(extra, steps, gaps, strict=True)):
        raise ValueError(
            f"{caller} needs an output_padding smaller than the stride or the dilation, "
            f"got {extra} with {steps} and {gaps}"
        )
    numbers = zip(x.shape[-dimensions:], weight.shape[2:], steps, gaps, strict=True)
    whole = tuple((n - 1) * s + d * (k - 1) + 1 for n, k, s, d in numbers)
    if min(n - 2 * p + q for n, p, q in zip(whole, cut, extra, strict=True)) < 1:
        raise ValueError(
            f"{caller} needs padding that leaves some of the output, got {cut} for an input of shape "
            f"{x.shape} and a kernel of {weight.shape[2:]}"
        )
    # The convolution that this one transposes must not fit another window into what is added.
    is_plain = all(q < s for q, s in zip(extra, steps, strict=True))
    frames = tuple((-p, q - p) for p, q in zip(cut, extra, strict=True))
    inner = cut if is_plain else (0,) * dimensions
    geometry = Geometry(steps, tuple((p, p) for p in inner), gaps, groups)
    size = tuple(n + low + high for n, (low, high) in zip(whole, frames, strict=True)) if is_plain else whole

    def spread(images: Any) -> Any:
        if is_plain:
            return convolution.convolve_transposed(images, weight, bias, geometry=geometry, size=size)
        y = convolution.convolve_transposed(images, weight, None, geometry=geometry, size=size)
        y = frame(y, widths=((0, 0), (0, 0), *frames), value=0.0)
        return y if bias is None else y + bias.reshape(-1, *(1,) * dimensions)

    return _batched(dimensions, x, spread)


def _plain(value: Any) -> Any:
    """Tensors as they are, and the rest as arrays, which take their dtype from the tensors that they meet."""
    return value if value is None or isinstance(value, Variable) else np.asarray(value)


def _batched(dimensions: int, x: Any, function: Callable[[Any], Any]) -> Tensor:
    """The function of a batch, also where a single example is given."""
    if x.ndim == dimensions + 2:
        return as_tensor(function(x))
    y = function(x.reshape(1, *x.shape))
    return as_tensor(y.reshape(y.shape[1:]))


def _check_weight(
    caller: str, dimensions: int, weight: Any, bias: Any, outputs: Size | None, groups: int
) -> None:
    if weight.ndim != dimensions + 2:
        raise ValueError(f"{caller} needs a weight of {dimensions + 2} axes, got shape {weight.shape}")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{caller} needs groups >= 1 that share the first axis of its weight of shape {weight.shape}, "
            f"got groups={groups}"
        )
    outputs = (weight.shape[1] * groups,) if outputs is None else outputs
    if bias is not None and np.shape(bias) != outputs:
        raise ValueError(
            f"{caller} needs a bias of shape {outputs} for its weight of shape {weight.shape} and "
            f"groups={groups}, got {np.shape(bias)}"
        )


def _check_input(caller: str, dimensions: int, x: Any, weight: Any, channels: int) -> None:
    if x.ndim not in (dimensions + 1, dimensions + 2) or x.shape[-dimensions - 1] != channels:
        raise ValueError(
            f"{caller} needs an input of shape (batch, {channels}, {SPACE[dimensions]}), or without the batch, "
            f"for its weight of shape {weight.shape}, got shape {x.shape}"
        )
