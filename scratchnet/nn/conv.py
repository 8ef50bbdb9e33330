"""Convolutional layers."""

import math
from typing import Any

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.functional.convolution import Padding, Sizes, sizes, widths
from scratchnet.nn.module import Module, Parameter
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class _Convolution(Module):
    """What all convolutions own: a weight, a bias, and how the kernel moves."""

    dimensions: int
    padding: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
        padding_mode: str,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name} needs in_channels and out_channels >= 1 that its groups >= 1 can share, got "
                f"{in_channels}, {out_channels} and groups={groups}"
            )
        if padding_mode != "zeros":
            raise ValueError(
                f"{name} needs padding_mode 'zeros', got {padding_mode!r}; frame the input beforehand instead"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = sizes(name, "kernel_size", kernel_size, self.dimensions, 1)
        self.stride = sizes(name, "stride", stride, self.dimensions, 1)
        self.dilation = sizes(name, "dilation", dilation, self.dimensions, 1)
        self.groups = groups
        self.padding_mode = padding_mode

    def _begin(self, channels: tuple[int, int], bias: bool, rng: RNGLike) -> None:
        """Makes weight and bias, uniform in ±1/√(elements of a kernel) as in PyTorch."""
        generator = np.random.default_rng(rng)
        bound = 1 / math.sqrt(channels[1] * math.prod(self.kernel_size))
        self.weight = Parameter(np.empty((*channels, *self.kernel_size), np.float32))
        init.uniform_(self.weight, -bound, bound, rng=generator)
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(np.empty(self.out_channels, np.float32))
            init.uniform_(self.bias, -bound, bound, rng=generator)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}"
        )


class _Forward(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        frame = widths(type(self).__name__, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else tuple(before for before, _ in frame)
        self._begin((out_channels, in_channels // groups), bias, rng)


class Conv1d(_Forward):
    """Slides kernels over sequences, y[o, t] = b[o] + Σ w[o, i, k] x[i, s t + d k − p].

    The gradients are x̄[i, s t + d k − p] += w[o, i, k] ȳ[o, t] (a transposed convolution),
    w̄[o, i, k] = Σ ȳ[o, t] x[i, s t + d k − p] and b̄[o] = Σ ȳ[o, t], the sums over t and the batch.
    As in PyTorch, weight and bias start uniform in ±1/√(elements of a kernel).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps of the kernel.
        stride: Steps from window to window, s.
        padding: Zeros on both sides, p; ``"valid"`` for none, ``"same"`` for as many as keep the length.
        dilation: Steps from tap to tap inside a window, d.
        groups: Bands of channels that do not see each other; ``in_channels`` of them make it depthwise.
        bias: False leaves b out.
        padding_mode: ``"zeros"``.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, in_channels, length)`` to ``(batch, out_channels, windows)``, with or without the batch.

    Example:
        >>> Conv1d(3, 8, 5, padding="same", rng=0)(np.zeros((2, 3, 10))).shape
        (2, 8, 10)
    """

    dimensions = 1

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return F.conv1d(x, self.weight, self.bias, *geometry)


class Conv2d(_Forward):
    """Slides kernels over images, y[o, r, c] = b[o] + Σ w[o, i, j, k] x[i, s r + d j − p, s c + d k − p].

    Gradients and first values are those of `Conv1d`, with two axes of space. The result's channels lie
    last in memory, which is what the next convolution reads fastest.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps of the kernel, one number or one an axis, as stride, padding and dilation.
        stride: Steps from window to window, s.
        padding: Zeros on both sides, p; ``"valid"`` for none, ``"same"`` for as many as keep the size.
        dilation: Steps from tap to tap inside a window, d.
        groups: Bands of channels that do not see each other; ``in_channels`` of them make it depthwise.
        bias: False leaves b out.
        padding_mode: ``"zeros"``.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, in_channels, height, width)`` to ``(batch, out_channels, *windows)``, with or without the batch.

    Example:
        >>> Conv2d(3, 8, 3, stride=2, padding=1, rng=0)(np.zeros((2, 3, 8, 6))).shape
        (2, 8, 4, 3)

    References:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.
        Chellapilla et al., "High performance convolutional neural networks for document processing", 2006
        (a convolution as a product of matrices).
    """

    dimensions = 2

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return F.conv2d(x, self.weight, self.bias, *geometry)


class _Transposed(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        name = type(self).__name__
        self.padding = sizes(name, "padding", padding, self.dimensions, 0)
        self.output_padding = sizes(name, "output_padding", output_padding, self.dimensions, 0)
        self._begin((in_channels, out_channels // groups), bias, rng)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{super().describe()}, output_padding={self.output_padding}"


class ConvTranspose1d(_Transposed):
    """Spreads each element of a sequence with a kernel, y[o, s t + d k − p] += w[i, o, k] x[i, t], plus b[o].

    It is the transpose of `Conv1d` with the same arguments, and x̄ is that convolution of ȳ. With a stride
    it enlarges.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps of the kernel.
        stride: Steps between the places that neighbours are spread to, s.
        padding: What is cut off on both sides, p.
        output_padding: What is added at the end, smaller than the stride or the dilation.
        groups: Bands of channels that do not see each other.
        bias: False leaves b out.
        dilation: Steps from tap to tap, d.
        padding_mode: ``"zeros"``.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, in_channels, length)`` to ``(batch, out_channels, (length − 1) s − 2p + d (kernel − 1) +
        output_padding + 1)``, with or without the batch.

    Example:
        >>> ConvTranspose1d(8, 3, 4, stride=2, padding=1, rng=0)(np.zeros((2, 8, 5))).shape
        (2, 3, 10)
    """

    dimensions = 1

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        geometry = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return F.conv_transpose1d(x, self.weight, self.bias, *geometry)


class ConvTranspose2d(_Transposed):
    """Spreads each element of an image with a kernel: the transpose of `Conv2d`; see `ConvTranspose1d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps of the kernel, one number or one an axis, as all sizes below.
        stride: Steps between the places that neighbours are spread to.
        padding: What is cut off on both sides.
        output_padding: What is added at the end, smaller than the stride or the dilation.
        groups: Bands of channels that do not see each other.
        bias: False leaves b out.
        dilation: Steps from tap to tap.
        padding_mode: ``"zeros"``.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, in_channels, height, width)`` to ``(batch, out_channels, *larger)``, with or without the batch.

    Example:
        >>> ConvTranspose2d(8, 3, 2, stride=2, rng=0)(np.zeros((2, 8, 5, 4))).shape
        (2, 3, 10, 8)

    References:
        Zeiler et al., "Deconvolutional networks", 2010.
    """

    dimensions = 2

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        geometry = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return F.conv_transpose2d(x, self.weight, self.bias, *geometry)
