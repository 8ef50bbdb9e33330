"""One number that says whether several processes hold the same arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from probes.arrays import Array, namespace_of, readable, widest_float

# The largest primes that float64 and float32 hold with everything below them. Prime, for a power of two would
# throw away the sign and the exponent of float64.
_PRIME = 2**52 - 47
_PRIME_OF_FLOAT32 = 2**24 - 3


def checksum(arrays: Sequence[Array]) -> Array | float:
    """A whole number that is the same for arrays equal bit by bit, and hardly ever for others.

    It adds up the entries' bits, read as integers, and joins the sums of the arrays in their order. Adding
    integers gives the same in whatever order a library adds, so that two processes with equal
    parameters always agree, on any number of threads. A change of one bit always shows, any other but
    once in four thousand million; it does not see two entries of one array that have changed places,
    and it takes 0.0 and -0.0 for different.

    Args:
        arrays: Of any shapes and types of up to 8 bytes an entry, all of one library.

    Returns:
        A number in [0, 2⁵²), which float64 holds exactly: a float where the arrays are on the host, and
        otherwise 0-d in their library (in [0, 2²⁴) on an accelerator without float64).

    Raises:
        ValueError: If there are no arrays.

    Example:
        >>> checksum([np.array([1, 2]), np.array([3])])
        12.0
    """
    if not arrays:
        raise ValueError("checksum needs at least one array, got none")
    sums = [_sum_of_bits(array) for array in arrays]
    if isinstance(sums[0], int):
        return float(_joined(sums, _PRIME))
    namespace, dtype = namespace_of(sums[0]), widest_float(sums[0])
    prime = _PRIME if dtype == namespace.float64 else _PRIME_OF_FLOAT32
    return namespace.astype(_joined(sums, prime), dtype)


def _joined(sums: Sequence[Any], prime: int) -> Any:
    total = sums[0] % prime
    for each in sums[1:]:
        total = (3 * total + each % prime) % prime
    return total


def _sum_of_bits(array: Array) -> Any:
    seen = readable(array)
    # Wide enough for a sum to say something, and no wider than it must be: a wider one takes thrice the time.
    whole, wide = f"int{8 * seen.itemsize}", f"int{8 * max(seen.itemsize, 4)}"
    if isinstance(seen, np.ndarray):
        return int(np.add.reduce(seen.view(whole), axis=None, dtype=wide))
    namespace = namespace_of(seen)
    total = seen.view(getattr(namespace, whole)).sum(dtype=getattr(namespace, wide))
    return namespace.astype(total, namespace.int64)
