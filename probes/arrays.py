"""What the array standard lacks: many norms in one call, many numbers to the host in one transfer.

No framework is imported here. `array_api_compat` finds the library of an array that comes in, and
`sys.modules` tells whether torch, with its fused norm, is loaded at all.
"""

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

from probes.sums import norm_on_host, norms_on_host

# NumPy arrays and torch tensors share no type that says what is used of them here.
Array: TypeAlias = Any

# Asked of every array at every recorded step, these answer sooner than the array standard's own questions.
_OF_NUMPY = (np.ndarray, np.generic)
_NUMBERS = (np.generic, int, float)
_NUMBER_TYPES = {float, int, np.float64, np.float32, np.int64}


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
        if array.requires_grad:
            array = array.detach()
        try:
            return array.numpy()
        except TypeError:  # NumPy has no bfloat16.
            return array.float().numpy()
    array = detached(array)
    return np.asarray(array) if str(device(array)) == "cpu" else array


def host_views(arrays: Sequence[Array]) -> list[NDArray[Any]] | None:
    """NumPy arrays that share their numbers with these for as long as they live; None where one of them cannot.

    That is, where one lies elsewhere, or is of a type that NumPy lacks. It takes longer than `readable`, but leaves
    torch's storage as it is, which after `Tensor.numpy` may change its size no more.
    """
    try:
        return [array if isinstance(array, np.ndarray) else np.from_dlpack(array) for array in arrays]
    # Each library has its own way of saying no.
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return None


def are_on_host(seen: Sequence[Array]) -> bool:
    """Whether what `readable` gave lies in host memory, all of it."""
    return all(isinstance(array, _OF_NUMPY) for array in seen)


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
        return _on_host(arrays)
    views = [readable(array) for array in arrays]
    if are_on_host(views):
        return namespace.asarray(_on_host(views))
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


def _on_host(arrays: Sequence[Any]) -> NDArray[np.float64]:
    """`norms` of NumPy arrays."""
    return np.array(norms_on_host([np.asarray(array) for array in arrays]))


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
