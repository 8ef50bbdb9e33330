"""Sums over arrays in host memory: compiled where there was a compiler, and otherwise in NumPy, which takes longer.

What they give differs in the last digits only. NumPy warns of nothing: what overflows shows in what is given.
"""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Uncompiled:
    """Stands where nothing was compiled: there is no array that it can read."""

    def __getattr__(self, _name: str) -> Any:
        raise BufferError


compiled: Any
try:
    compiled = import_module("probes._sums")
except ImportError:
    compiled = _Uncompiled()
IS_COMPILED = not isinstance(compiled, _Uncompiled)

# A BLAS dot product adds float32 up in float32, which is 2 % off after 1e8 equal entries; runs of this
# length keep it within a few units in the last place, and their sums are added up in float64.
_RUN = 1024

# Characters of the types whose squares are added up as they are.
_FLOATS = "fd"
_ONES = {char: np.ones(_RUN, char) for char in _FLOATS}

_SILENTLY = np.errstate(all="ignore")

# A sum of squares below this may have lost digits to numbers too small for float32.
_LOWEST = float(np.finfo(np.float32).tiny / np.finfo(np.float32).eps)


def sum_and_norm(array: NDArray[Any]) -> tuple[float, float]:
    """Sum of the entries, and their Euclidean norm."""
    try:
        total, squares = compiled.sums(array)
    except BufferError:
        flat = flat_float(array)
        total, squares = _sum(flat), _sum_of_squares(flat)
    return total, math.sqrt(squares) if _LOWEST < squares < math.inf else _scaled_norm(flat_float(array))


class Summed(NamedTuple):
    """What `summary_on_host` finds."""

    sum: float
    norm: float
    least: float
    largest: float


def summary_on_host(array: NDArray[Any]) -> Summed:
    """Sum, norm, least and largest entry; NaN carries through to all of them."""
    try:
        total, squares, least, largest = compiled.summary(array)
    except BufferError:
        squares = math.nan
    if math.isnan(squares):
        # Comparisons know nothing of NaN, and may have gone past one.
        flat = flat_float(array)
        return Summed(*sum_and_norm(flat), *_limits(flat))
    return Summed(total, _roots([squares], lambda _: array)[0], least, largest)


def norm_on_host(array: NDArray[Any]) -> float:
    """Euclidean norm over all entries."""
    return norms_on_host([array])[0]


def norms_on_host(arrays: list[NDArray[Any]]) -> list[float]:
    """Euclidean norm of each array."""
    try:
        squares = compiled.sums_of_squares(arrays)
    except BufferError:
        squares = [_sum_of_squares(flat_float(array)) for array in arrays]
    return _roots(squares, arrays.__getitem__)


def norms_of_copies(arrays: list[NDArray[Any]], copies: list[NDArray[Any]]) -> list[float]:
    """Writes the copies, each of its array's shape and type; gives the norms."""
    try:
        squares = compiled.copied(arrays, copies)
    except BufferError:
        for array, copy in zip(arrays, copies, strict=True):
            np.copyto(copy, array)
        return norms_on_host(copies)
    return _roots(squares, copies.__getitem__)


def norms_of_differences(arrays: list[NDArray[Any]], others: list[NDArray[Any]]) -> list[float]:
    """Euclidean norm of what is left of each array less its other, each difference rounded to their type."""
    try:
        squares = compiled.moved(arrays, others)
    except BufferError:
        return norms_on_host([_difference(*pair) for pair in zip(arrays, others, strict=True)])
    return _roots(squares, lambda place: _difference(arrays[place], others[place]))


def mark_firing(
    activation: NDArray[Any], marks: NDArray[np.int64], mark: int, since: int = 0
) -> tuple[int, int]:
    """Marks the units, along the second axis, that are not zero on some example at some position.

    Args:
        activation: Of at least two axes, none of them empty.
        marks: One for each unit; those of others stay as they are.
        mark: Written for each unit that fires.
        since: A bound for the marks.

    Returns:
        How many units fire, and how many have a mark above the bound.
    """
    try:
        return compiled.mark_firing(activation, marks, mark, since)
    except BufferError:
        # Comparing first and reducing booleans is the fastest way that is right for both signs: on (128, 512)
        # float32 in NumPy 18 µs, against 25 for or-ing bit patterns, 30 for `any` of the floats themselves, 45
        # for casting them to bool and 50 for the maximum with the minimum.
        fired = np.any(activation != 0, axis=0)
        if fired.ndim > 1:
            # Positions in a second go: over examples and positions at once NumPy takes three times as long.
            fired = np.any(fired, axis=tuple(range(1, fired.ndim)))
        marks[fired] = mark
        return int(np.count_nonzero(fired)), int(np.count_nonzero(marks > since))


def flat_float(array: NDArray[Any]) -> NDArray[Any]:
    """A NumPy array as a vector of float32 or float64, its entries in whatever order they lie."""
    if array.dtype.char not in _FLOATS:
        array = array.astype(np.float64)
    # "K" and not "C": a transposed view is then read as it lies, without a copy.
    return array.ravel(order="K")


def _roots(squares: list[float], array_at: Callable[[int], NDArray[Any]]) -> list[float]:
    """Norms behind sums of squares; where one has overflowed, or lost digits, the array is looked at again."""
    return [
        math.sqrt(each) if _LOWEST < each < math.inf else _scaled_norm(flat_float(array_at(place)))
        for place, each in enumerate(squares)
    ]


@_SILENTLY
def _difference(array: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    return array - other


@_SILENTLY
def _sum_of_squares(flat: NDArray[Any]) -> float:
    whole = flat.size - flat.size % _RUN
    if not whole:
        return float(np.dot(flat, flat))
    runs = flat[:whole].reshape(-1, _RUN)
    squares = float(np.add.reduce(np.vecdot(runs, runs), dtype=np.float64))
    if whole < flat.size:
        rest = flat[whole:]
        squares += float(np.dot(rest, rest))
    return squares


@_SILENTLY
def _sum(flat: NDArray[Any]) -> float:
    """Runs are added up in their own type, unless that leaves its range."""
    whole = flat.size - flat.size % _RUN
    if not whole:
        return float(np.add.reduce(flat))
    # A product with ones takes a third of the time of NumPy's own sum.
    row = np.vecdot(flat[:whole].reshape(-1, _RUN), _ONES[flat.dtype.char])
    total = float(np.add.reduce(row, dtype=np.float64)) + float(np.add.reduce(flat[whole:]))
    return total if math.isfinite(total) else float(np.add.reduce(flat, dtype=np.float64))


@_SILENTLY
def _limits(flat: NDArray[Any]) -> tuple[float, float]:
    return float(np.minimum.reduce(flat)), float(np.maximum.reduce(flat))


@_SILENTLY
def _scaled_norm(flat: NDArray[Any]) -> float:
    """Norm of entries whose squares leave the range: of the entries over the largest of them."""
    if flat.size == 0:
        return 0.0
    largest = abs(float(np.maximum(flat.max(), -flat.min())))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(_sum_of_squares(np.divide(flat, largest, dtype=np.float64)))
