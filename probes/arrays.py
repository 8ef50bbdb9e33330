"""What the array standard lacks: many norms in one call, many numbers to the host in one transfer.

No framework is imported here. `array_api_compat` finds the library of an array that comes in, and
`sys.modules` tells whether torch, with its fused norm, is loaded at all.
"""

import math
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_numpy_namespace,
    is_torch_namespace,
    to_device,
)
from numpy.typing import NDArray

# NumPy arrays and torch tensors share no type that says what is used of them here.
Array: TypeAlias = Any

# A BLAS dot product adds float32 up in float32, which is 2 % off after 1e8 equal entries; runs of this
# length keep it within a few units in the last place, and their sums are added up in float64.
_RUN = 1024

# Asked of every array at every recorded step, these answer sooner than the array standard's own questions.
_OF_NUMPY = (np.ndarray, np.generic)
_NUMBERS = (np.generic, int, float)
_NUMBER_TYPES = {float, int, np.float64, np.float32, np.int64}

# Characters of the types whose squares are added up as they are.
FLOATS = "fd"
_ONES = {char: np.ones(_RUN, char) for char in FLOATS}

# A sum of squares below this may have lost digits to numbers too small for float32.
_LOWEST = float(np.finfo(np.float32).tiny / np.finfo(np.float32).eps)


def namespace_of(*arrays: Array) -> Any:
    """The library of the arrays; plain NumPy is seen at a glance, for asking costs as much as a small norm.

    Raises:
        TypeError: If the arrays are of several libraries, or of none.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_namespace(*arrays)
    return numpy_namespace if arrays else array_namespace()


def detached(array: Array) -> Array:
    """The array cut off from its tape, so that measuring leaves nothing there; itself if it has no tape."""
    return array.detach() if hasattr(array, "detach") else array


def readable(array: Array) -> Array:
    """The array without its tape; a tensor in host memory as the NumPy array that it shares its numbers with.

    NumPy reads such an array faster and better: on a CPU torch's `any` takes ten times as long, and its
    norm is 1 % off after 1e7 float32 entries. Elsewhere the tensor stays where it is.
    """
    if isinstance(array, _OF_NUMPY):
        return array
    # Only torch's have this attribute, and it answers in a tenth of the time of the standard's questions.
    if getattr(array, "is_cpu", False):
        return _numpy_view(array.detach() if array.requires_grad else array)
    array = detached(array)
    return np.asarray(array) if str(device(array)) == "cpu" else array


def returned(result: Array, given: Array) -> Array:
    """A result in the library of the array that was given."""
    return result if isinstance(given, _OF_NUMPY) else namespace_of(given).asarray(result)


def widest_float(array: Array) -> Any:
    """float64 of the array's library; float32 on Apple's accelerator, which has no float64."""
    namespace = namespace_of(array)
    return namespace.float32 if str(device(array)).startswith("mps") else namespace.float64


def norms(arrays: Sequence[Array]) -> Array:
    """Euclidean norm of each of many arrays of one library, in one call.

    A step's gradients are dozens of arrays, most of them small, so that a call for each would cost more
    than the arithmetic. Sums of squares are kept in range and in float64: a float32 gradient of norm
    1e-30 is not reported as 0, nor one of 1e30 as infinity, nor does a sum of 1e8 equal entries drift.
    On an accelerator, where looking at a sum would stall the queue, float64 tensors alone have no such
    rescue and need norms within 1e-150 and 1e150.

    Args:
        arrays: At least one array, all of one library; any shape, layout and real type. Integers count
            as float64.

    Returns:
        The norms, 1-D in the order of ``arrays``, float64 in their library. The norm of an empty array is
        0; one with a NaN has norm NaN, and one with an infinity but no NaN has norm infinity.

    Raises:
        ValueError: If there are no arrays.
        TypeError: If the arrays are of several libraries, or of none.

    Example:
        >>> norms([np.array([3.0, 4.0]), np.full((2, 2), 1e-30, dtype=np.float32)]).tolist()
        [5.0, 2.00...e-30]
    """
    if len(arrays) == 0:
        raise ValueError(
            "norms needs at least one array, got none; leave the call out where nothing is to be measured"
        )
    namespace = namespace_of(*arrays)
    if is_numpy_namespace(namespace):
        return _norms_on_host(arrays)
    views = [readable(array) for array in arrays]
    if all(isinstance(view, _OF_NUMPY) for view in views):
        return namespace.asarray(_norms_on_host(views))
    return _norms_on_device(namespace, [detached(array) for array in arrays])


def norm(array: Array) -> Array:
    """Euclidean norm of one array, over all its entries: `norms` of it alone, 0-d.

    Example:
        >>> float(norm(np.array([[3.0], [4.0]])))
        5.0
    """
    view = readable(array)
    if not isinstance(view, _OF_NUMPY):
        return norms([array])[0]
    with np.errstate(all="ignore"):
        return returned(np.float64(norm_on_host(np.asarray(view))), array)


def to_host(values: Sequence[Array | float]) -> NDArray[np.float64]:
    """Many numbers as one NumPy array, in one transfer.

    Reading numbers off an accelerator one by one waits for it once each; this waits once.

    Args:
        values: 0-d or 1-D arrays of any real type, or plain numbers. Beside NumPy's, arrays of one more
            library may be among them.

    Returns:
        float64, 1-D: the numbers one after the other, in the order of ``values``; empty if there are none.

    Raises:
        TypeError: If there are arrays of several libraries beside NumPy's, or of none.

    Example:
        >>> to_host([np.float32(0.5), np.array([1, 2]), 3.0]).tolist()
        [0.5, 1.0, 2.0, 3.0]
    """
    if len(values) == 0:
        return np.empty(0)
    if {*map(type, values)} <= _NUMBER_TYPES or all(isinstance(value, _NUMBERS) for value in values):
        return np.array(values, np.float64)
    here = (np.ndarray, *_NUMBERS)
    away = [value for value in values if not isinstance(value, here)]
    arrived = iter(_fetched(away) if away else ())
    rows = (value if isinstance(value, here) else next(arrived) for value in values)
    # A list of numbers becomes an array much faster than many small arrays do.
    return np.array(list(chain.from_iterable(map(_numbers, rows))), np.float64)


def quotient(numerator: Array, denominator: Array) -> Array:
    """Division as IEEE 754 has it, x/0 infinite and 0/0 NaN, without NumPy's warnings."""
    with np.errstate(all="ignore"):
        return numerator / denominator


def fraction(count: Array, total: int) -> Array:
    """``count`` of ``total``, in the widest float: torch alone would divide integers in float32."""
    if not isinstance(count, _OF_NUMPY):
        count = namespace_of(count).astype(count, widest_float(count))
    return count / total


def _numbers(value: Any) -> list[Any]:
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim else [value]


def _fetched(values: Sequence[Array]) -> list[NDArray[np.float64]]:
    namespace = namespace_of(*values)
    place, dtype = device(values[0]), widest_float(values[0])
    numbers = [namespace.astype(to_device(detached(value), place), dtype, copy=False) for value in values]
    rows = [namespace.reshape(number, (-1,)) for number in numbers]
    fetched = np.asarray(to_device(namespace.concat(rows), "cpu"), dtype=np.float64)
    return np.split(fetched, np.cumsum([row.shape[0] for row in rows])[:-1])


def _norms_on_host(arrays: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """`norms` of NumPy arrays."""
    with np.errstate(all="ignore"):
        return np.array([norm_on_host(array) for array in arrays])


def norm_on_host(array: NDArray[Any]) -> float:
    """`norm` of a NumPy array for callers that have silenced NumPy already."""
    flat = flat_float(array)
    squares = sum_of_squares_on_host(flat)
    return math.sqrt(squares) if is_in_range(squares) else _scaled_norm(flat)


def sum_of_squares_on_host(flat: NDArray[Any]) -> float:
    """Sum of the squares of a 1-D NumPy array of a type in `FLOATS`, good for a norm where it `is_in_range`."""
    whole = flat.size - flat.size % _RUN
    if not whole:
        return float(np.dot(flat, flat))
    runs = flat[:whole].reshape(-1, _RUN)
    squares = float(np.add.reduce(np.vecdot(runs, runs), dtype=np.float64))
    if whole < flat.size:
        rest = flat[whole:]
        squares += float(np.dot(rest, rest))
    return squares


def sum_on_host(flat: NDArray[Any]) -> float:
    """Sum of a 1-D NumPy array of a type in `FLOATS`; runs are added up in its own type unless they leave its range."""
    whole = flat.size - flat.size % _RUN
    if not whole:
        return float(np.add.reduce(flat))
    # A product with ones takes a third of the time of NumPy's own sum.
    sums = np.vecdot(flat[:whole].reshape(-1, _RUN), _ONES[flat.dtype.char])
    total = float(np.add.reduce(sums, dtype=np.float64)) + float(np.add.reduce(flat[whole:]))
    return total if math.isfinite(total) else float(np.add.reduce(flat, dtype=np.float64))


def is_in_range(squares: float) -> bool:
    """Whether a sum of squares has neither overflowed nor lost digits to numbers too small for the type."""
    return _LOWEST < squares < math.inf


def _numpy_view(tensor: Array) -> NDArray[Any]:
    try:
        return tensor.numpy()
    except TypeError:  # NumPy has no bfloat16.
        return tensor.float().numpy()


def flat_float(array: NDArray[Any]) -> NDArray[Any]:
    """A NumPy array as a vector of a type in `FLOATS`, its entries in whatever order they lie."""
    if array.dtype.char not in FLOATS:
        array = array.astype(np.float64)
    # "K" and not "C": a transposed view is then read as it lies, without a copy.
    return array.ravel(order="K")


def _scaled_norm(flat: NDArray[Any]) -> float:
    """Norm of entries whose squares leave the range: of the entries over the largest of them."""
    if flat.size == 0:
        return 0.0
    largest = abs(float(np.maximum(flat.max(), -flat.min())))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum_of_squares_on_host(np.divide(flat, largest, dtype=np.float64)))


def _norms_on_device(namespace: Any, arrays: Sequence[Array]) -> Array:
    # float64 keeps the squares of every narrower float in range without a look at them.
    dtype, place = widest_float(arrays[0]), device(arrays[0])
    arrays = [_real(namespace, array) for array in arrays]
    fused = getattr(sys.modules.get("torch"), "_foreach_norm", None)
    if fused is not None and is_torch_namespace(namespace):
        values = fused(arrays, 2, dtype=dtype)
    else:
        values = [namespace.linalg.vector_norm(namespace.astype(array, dtype)) for array in arrays]
    return namespace.stack([to_device(value, place) for value in values])


def _real(namespace: Any, array: Array) -> Array:
    if namespace.isdtype(array.dtype, "real floating"):
        return array
    return namespace.astype(array, widest_float(array))
