"""The tensor: an array with a place on the tape, and the operators that read like mathematics."""

import math
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import ArrayLike, DTypeLike

from scratchnet import backward as way_back
from scratchnet.ops import elementwise, linalg, reduction, shape
from scratchnet.ops.reduction import Axes
from scratchnet.tape import Array, Node, Variable


class Tensor(Variable):
    """An array whose computations are recorded, so that a gradient can be taken.

    Python numbers and lists become float32, as in PyTorch; what has a dtype keeps it. Where data (a list,
    a plain NumPy array, a tensor that needs no gradient) meets a tensor that does, it takes that one's
    dtype; two tensors of unequal dtype that both need a gradient are an error.

    Args:
        data: Anything that NumPy can make an array of; an array is not copied.
        requires_grad: Whether gradients with respect to this tensor are wanted.

    Attributes:
        array: The NumPy array. Writing into it is not recorded.
        grad: The gradient that `backward` has added up, a tensor, or None. Once an optimiser holds a
            parameter, it is a view that the next backward pass after ``zero_grad`` overwrites: copy what is to stay.

    Raises:
        TypeError: If ``requires_grad`` is asked of integers or booleans.

    Example:
        >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad.numpy()
        array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ()

    grad: "Tensor | None"

    # NumPy then leaves `array * tensor` to the tensor instead of looping over its elements.
    __array_ufunc__ = None

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        array = data if isinstance(data, np.ndarray) else _as_array(data)
        if requires_grad and not np.issubdtype(array.dtype, np.floating):
            raise TypeError(
                f"requires_grad=True needs floating-point data, got {array.dtype}; "
                f"convert it with .astype(float)"
            )
        self._place(array, None, requires_grad)

    def _place(self, array: Array, node: Node | None, requires_grad: bool) -> None:
        self.array = array
        self.node = node
        self.requires_grad = requires_grad
        self.grad = None
        self.grad_buffer = None
        self.hooks = None

    @classmethod
    def make(cls, array: Array, node: Node | None) -> "Tensor":
        """A tensor with a place on the tape already; a parameter's results are plain tensors."""
        # As `_place`, without the call: each recorded operation comes through here.
        tensor = Tensor.__new__(Tensor)
        tensor.array = array if type(array) is np.ndarray else np.asarray(array)
        tensor.node = node
        tensor.requires_grad = node is not None
        tensor.grad = tensor.grad_buffer = tensor.hooks = None
        return tensor

    # ------------------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.array.size

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[position] for position in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __format__(self, form: str) -> str:
        return format(self.array.item() if self.ndim == 0 else self.array, form)

    # Element by element, as in PyTorch; a tensor as a key of a dict is itself all the same.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self.array == _plain(other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self.array != _plain(other)

    def __lt__(self, other: Any) -> Array:
        return self.array < _plain(other)

    def __le__(self, other: Any) -> Array:
        return self.array <= _plain(other)

    def __gt__(self, other: Any) -> Array:
        return self.array > _plain(other)

    def __ge__(self, other: Any) -> Array:
        return self.array >= _plain(other)

    def __repr__(self) -> str:
        mark = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.array, separator=', ')}, dtype={self.dtype}{mark})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype=dtype, copy=copy)

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self.array

    def item(self) -> float:
        """The single element as a Python number."""
        return self.array.item()

    def detach(self) -> "Tensor":
        """The same array, off the tape."""
        return Tensor.make(self.array, None)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            "a tensor needs its recorded values unchanged, got an assignment to an element; "
            "write into tensor.array where no gradient is wanted, or build a new tensor"
        )

    # ---------------------------------------------------------------------------- the way back

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Adds this tensor's gradient to the ``grad`` of every leaf that it was computed from.

        Args:
            gradient: The gradient of this tensor itself; one for a scalar.
            retain_graph: Keeps the tape for another pass.
            create_graph: Records the backward pass too.

        Raises:
            RuntimeError: If the tensor is no scalar and ``gradient`` is not given, or was not recorded.

        Warns:
            RuntimeWarning: If a scalar is not finite, for then no gradient behind it is either.
        """
        if self.array.ndim == 0 and not math.isfinite(self.array):
            warnings.warn(
                f"backward needs a finite loss, got {self.array}: the gradients will not be finite either; "
                f"skip the step, lower the learning rate, or look for a log or a division of zero",
                RuntimeWarning,
                stacklevel=2,
            )
        way_back.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    # -------------------------------------------------------------------------------- operators

    def __add__(self, other: Any) -> "Tensor":
        return elementwise.add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Tensor":
        return elementwise.subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return elementwise.subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return elementwise.multiply(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Tensor":
        return elementwise.divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return elementwise.divide(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return linalg.product(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return linalg.product(other, self)

    def __neg__(self) -> "Tensor":
        return elementwise.negative(self)

    def __pow__(self, exponent: float) -> "Tensor":
        number = exponent.item() if isinstance(exponent, np.generic) else exponent
        if not isinstance(number, int | float):
            raise TypeError(
                f"power needs a number as its exponent, got {type(exponent).__name__}; "
                f"write (x.log() * exponent).exp() where x > 0"
            )
        return elementwise.power(self, exponent=number)

    def __getitem__(self, index: Any) -> "Tensor":
        return shape.take(self, index=_plain(index), shape=self.shape)

    def exp(self) -> "Tensor":
        """Exponential, elementwise."""
        return elementwise.exp(self)

    def log(self) -> "Tensor":
        """Natural logarithm, elementwise."""
        return elementwise.log(self)

    def sqrt(self) -> "Tensor":
        """Square root, elementwise."""
        return elementwise.sqrt(self)

    def abs(self) -> "Tensor":
        """Magnitude, elementwise."""
        return elementwise.absolute(self)

    def relu(self) -> "Tensor":
        """Rectified linear unit, elementwise."""
        return elementwise.relu(self)

    def tanh(self) -> "Tensor":
        """Hyperbolic tangent, elementwise."""
        return elementwise.tanh(self)

    def sigmoid(self) -> "Tensor":
        """Logistic function, elementwise."""
        return elementwise.sigmoid(self)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        """Sum over one axis, several, or all."""
        return reduction.total(self, axis=axis, keepdims=keepdims, shape=self.shape)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        """Mean over one axis, several, or all; NaN where there is nothing to average, as in PyTorch."""
        axes = range(self.ndim) if axis is None else normalize_axis_tuple(axis, self.ndim)
        count = int(np.prod([self.shape[index] for index in axes]))
        return self.sum(axis, keepdims) * (1.0 / count if count else math.nan)

    def reshape(self, *sizes: Any) -> "Tensor":
        """The same elements in another shape; one size may be −1."""
        wanted = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        return shape.reshape(self, shape=wanted, original=self.shape)

    def transpose(self, *axes: int) -> "Tensor":
        """The axes in another order, reversed if none is given."""
        return shape.transpose(self, axes=axes or tuple(reversed(range(self.ndim))))

    @property
    def T(self) -> "Tensor":  # noqa: N802 - NumPy's and PyTorch's name
        """The axes in reverse order."""
        return self.transpose()


def as_tensor(value: Any, dtype: DTypeLike | None = None) -> Tensor:
    """The tensor itself, or a new one of plain data, which takes the dtype if there is one."""
    if isinstance(value, Tensor):
        return value
    return Tensor(value if dtype is None else np.asarray(value, dtype))


def _as_array(data: ArrayLike) -> Array:
    """Python numbers become float32 as in PyTorch; what has a dtype keeps it."""
    array = np.asarray(data)
    return array if hasattr(data, "dtype") or array.dtype != np.float64 else array.astype(np.float32)


def _plain(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_plain(part) for part in index)
    return index.array if isinstance(index, Variable) else index
