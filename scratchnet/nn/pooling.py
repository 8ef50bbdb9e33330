"""Pooling layers: one number for each window of a sequence or an image."""

from typing import Any

from scratchnet.nn import functional as F
from scratchnet.nn.functional.convolution import Sizes
from scratchnet.nn.functional.pooling import OutputSizes
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of a sequence; x̄ gets ȳ at the first element that is as large.

    Args:
        kernel_size: Taps a window.
        stride: Steps from window to window; the kernel's size if None.
        padding: Places on both sides that count for nothing, at most half the kernel.
        dilation: Steps from tap to tap.
        ceil_mode: True keeps a last window that reaches over the end.

    See `scratchnet.nn.functional.max_pool1d` for shapes and errors.

    Example:
        >>> MaxPool1d(2)(np.array([[1.0, 4.0, 2.0, 3.0]])).numpy()
        array([[4., 3.]])
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool2d(_MaxPool):
    """The largest element of each rectangle of an image; x̄ gets ȳ at the first element that is as large.

    Args:
        kernel_size: Taps a window, one number or one an axis, as all below.
        stride: Steps from window to window; the kernel's size if None.
        padding: Places on both sides that count for nothing, at most half the kernel.
        dilation: Steps from tap to tap.
        ceil_mode: True keeps last windows that reach over the end.

    See `scratchnet.nn.functional.max_pool2d` for shapes and errors.

    Example:
        >>> MaxPool2d(2)(np.zeros((5, 3, 8, 7))).shape
        (5, 3, 4, 3)
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class _AvgPool(Module):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence, Σ x / k; x̄ is the sum of ȳ / k over an element's windows.

    Args:
        kernel_size: Elements a window, k.
        stride: Steps from window to window; the kernel's size if None.
        padding: Zeros on both sides, at most half the kernel.
        ceil_mode: True keeps a last window that reaches over the end.
        count_include_pad: False leaves the padding out of the count that is divided by.

    See `scratchnet.nn.functional.avg_pool1d` for shapes and errors.

    Example:
        >>> AvgPool1d(2)(np.array([[1.0, 4.0, 2.0, 3.0]])).numpy()
        array([[2.5, 2.5]])
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        options = (self.padding, self.ceil_mode, self.count_include_pad)
        return F.avg_pool1d(x, self.kernel_size, self.stride, *options)


class AvgPool2d(_AvgPool):
    """The mean of each rectangle of an image; x̄ is the sum of ȳ / k over an element's windows of k elements.

    Args:
        kernel_size: Elements a window, one number or one an axis, as below.
        stride: Steps from window to window; the kernel's size if None.
        padding: Zeros on both sides, at most half the kernel.
        ceil_mode: True keeps last windows that reach over the end.
        count_include_pad: False leaves the padding out of the count that is divided by.
        divisor_override: What the sum is divided by instead of the count.

    See `scratchnet.nn.functional.avg_pool2d` for shapes and errors.

    Example:
        >>> AvgPool2d(2)(np.zeros((5, 3, 8, 7))).shape
        (5, 3, 4, 3)
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        options = (self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool2d(x, self.kernel_size, self.stride, *options)


class _Adaptive(Module):
    def __init__(self, output_size: OutputSizes) -> None:
        super().__init__()
        self.output_size = output_size

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of as many stretches of a sequence as are wanted.

    Args:
        output_size: How many; None keeps the length.

    See `scratchnet.nn.functional.adaptive_avg_pool1d` for the stretches, shapes and errors.

    Example:
        >>> AdaptiveAvgPool1d(1)(np.array([[1.0, 4.0, 2.0, 3.0]])).numpy()
        array([[2.5]])
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of as many rectangles of an image as are wanted.

    Args:
        output_size: Height and width, one number for both; None keeps what there is.

    See `scratchnet.nn.functional.adaptive_avg_pool2d` for the rectangles, shapes and errors.

    Example:
        >>> AdaptiveAvgPool2d((2, None))(np.zeros((5, 3, 7, 4))).shape
        (5, 3, 2, 4)
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool1d(_Adaptive):
    """The largest elements of as many stretches of a sequence as are wanted.

    Args:
        output_size: How many; None keeps the length.

    See `scratchnet.nn.functional.adaptive_max_pool1d` for the stretches, shapes and errors.

    Example:
        >>> AdaptiveMaxPool1d(2)(np.array([[1.0, 4.0, 2.0, 3.0]])).numpy()
        array([[4., 3.]])
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.adaptive_max_pool1d(x, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest elements of as many rectangles of an image as are wanted.

    Args:
        output_size: Height and width, one number for both; None keeps what there is.

    See `scratchnet.nn.functional.adaptive_max_pool2d` for the rectangles, shapes and errors.

    Example:
        >>> AdaptiveMaxPool2d(1)(np.zeros((5, 3, 7, 4))).shape
        (5, 3, 1, 1)
    """

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.adaptive_max_pool2d(x, self.output_size)
