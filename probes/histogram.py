"""How the entries of an array are spread over the powers of two."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device, is_numpy_array
from numpy.typing import NDArray

from probes.arrays import Array, namespace_of, readable, returned, widest_float
from probes.catalogue import probe

_LEAST_EXPONENT = -64
_EXPONENTS = 96

# Entries that are looked at together, few enough to stay in the processor's cache.
_STRETCH = 1 << 15


def histogram_bins() -> tuple[str, ...]:
    """What each bin of `magnitude_histogram` counts, from ``"-inf"`` to ``"+inf"`` and last ``"nan"``.

    ``"+2^-3"`` counts the entries from 2^-3 up to but without 2^-2, ``"-2^-3"`` their negatives.

    Example:
        >>> bins = histogram_bins()
        >>> len(bins), bins[:4], bins[99:102]
        (202, ('-inf', '-from 2^32', '-2^31', '-2^30'), ('-subnormal', '0', '+subnormal'))
    """
    last = _LEAST_EXPONENT + _EXPONENTS
    powers = [f"2^{exponent}" for exponent in range(_LEAST_EXPONENT, last)]
    sizes = ["subnormal", f"below 2^{_LEAST_EXPONENT}", *powers, f"from 2^{last}", "inf"]
    return (*(f"-{size}" for size in reversed(sizes)), "0", *(f"+{size}" for size in sizes), "nan")


def histogram_edges() -> NDArray[np.float64]:
    """The powers of two between the bins of either sign, smallest first, shape ``(97,)``.

    Example:
        >>> np.log2(histogram_edges()[[0, 1, -1]]).tolist()
        [-64.0, -63.0, 32.0]
    """
    return np.ldexp(1.0, np.arange(_EXPONENTS + 1) + _LEAST_EXPONENT)


_ZERO, _NAN = histogram_bins().index("0"), histogram_bins().index("nan")


class _Format(NamedTuple):
    """How a floating-point type lies in memory: widths in bits, and the name of the integer as wide."""

    exponent: int
    fraction: int
    integer: str

    @property
    def codes(self) -> int:
        """How many values the sign and the exponent take together."""
        return 2 << self.exponent

    @property
    def exact(self) -> tuple[int, ...]:
        """The bits of 0, -0, infinity and -infinity, whose exponents subnormals and NaN have too."""
        sign = -1 << (self.exponent + self.fraction)
        infinity = ((1 << self.exponent) - 1) << self.fraction
        return 0, sign, infinity, sign + infinity


_FORMATS = {
    "float16": _Format(5, 10, "int16"),
    "bfloat16": _Format(8, 7, "int16"),
    "float32": _Format(8, 23, "int32"),
    "float64": _Format(11, 52, "int64"),
}


@probe(unit="entries", eats="array", cost="cheap", source="IEEE 754-2019")
def magnitude_histogram(array: Array) -> Array:
    """How many entries lie in each power of two, by sign; zero, subnormal, NaN and infinities have bins of their own.

    The bins are the same for every array, type and step, so that histograms add up, compare and stack over
    time, and nothing is left out: the counts sum to the size of the array exactly. They show what a norm
    hides: a few huge entries over many small ones, a type that runs out of small numbers, signs that
    are one-sided. An octave is coarse: two distributions whose scale differs by less than 2 look alike.

    `histogram_bins` names the bins, in the order of the number line; `histogram_edges` has the powers of
    two between them. Normal numbers beyond the edges fall into the two outermost bins of their sign.
    Subnormal means: for the array's own type, below 2^-14 for float16, 2^-126 for bfloat16 and float32.

    Args:
        array: Any shape; float16, bfloat16, float32 or float64. Other real types count as float64. An empty
            array has only zero counts.

    Returns:
        Counts of at least 0, integers, shape ``(202,)``, in the library of ``array``.

    Example:
        >>> counts = magnitude_histogram(np.array([0.0, 1.0, 1.5, -0.25, np.nan]))
        >>> {histogram_bins()[place]: int(counts[place]) for place in np.flatnonzero(counts)}
        {'-2^-2': 1, '0': 1, '+2^0': 2, 'nan': 1}

    References:
        [1] IEEE Standard for Floating-Point Arithmetic, IEEE 754-2019.
    """
    seen = readable(array)
    layout = _FORMATS.get(_name(seen))
    if layout is None:
        seen = namespace_of(seen).astype(seen, widest_float(seen))
        layout = _FORMATS[_name(seen)]
    counted = _counted_on_host if is_numpy_array(seen) else _counted_on_device
    return returned(_binned(layout, *counted(seen, layout)), array)


def _counted_on_host(array: NDArray[Any], layout: _Format) -> tuple[Array, Array]:
    """Entries by sign and exponent, and those that are exactly one of the four special numbers."""
    bits = array.ravel(order="K").view(layout.integer)
    by_code, exact = np.zeros(layout.codes, dtype=np.int64), np.zeros(4, dtype=np.int64)
    for start in range(0, bits.size, _STRETCH):
        stretch = bits[start : start + _STRETCH]
        found = np.bincount(_code(stretch, layout).astype(np.intp), minlength=layout.codes)
        by_code += found
        for place, number in enumerate(layout.exact):
            # Most stretches have none of the four, and are not looked at again.
            if found[_code(number, layout)]:
                exact[place] += np.count_nonzero(stretch == number)
    return by_code, exact


def _counted_on_device(array: Array, layout: _Format) -> tuple[Array, Array]:
    """The same in a few calls, none of which waits for the device, as torch's own `bincount` does."""
    namespace = namespace_of(array)
    bits = namespace.reshape(array, (-1,)).view(getattr(namespace, layout.integer))
    code = namespace.astype(_code(bits, layout), namespace.int64)
    by_code = namespace.zeros(layout.codes, dtype=namespace.int64, device=device(array))
    by_code.scatter_add_(0, code, namespace.ones_like(by_code[:1]).expand(code.shape[0]))
    return by_code, namespace.stack([namespace.count_nonzero(bits == number) for number in layout.exact])


def _code(bits: Any, layout: _Format) -> Any:
    """Sign and exponent as one number; the mask takes away the signs that a shift fills up with."""
    return (bits >> layout.fraction) & (layout.codes - 1)


def _binned(layout: _Format, by_code: Array, exact: Array) -> Array:
    namespace = namespace_of(by_code)
    first, last = namespace.asarray(_code_ranges(layout), device=device(by_code))
    sums = namespace.cumulative_sum(by_code, include_initial=True)
    bins = sums[last] - sums[first]
    # Until here zeros are among the subnormals of their sign, and NaN among the infinities.
    for sign, zeros, infinities in ((1, exact[0], exact[2]), (-1, exact[1], exact[3])):
        bins[_ZERO + sign] -= zeros
        bins[_ZERO] += zeros
        outermost = _ZERO + sign * _ZERO
        bins[_NAN] += bins[outermost] - infinities
        bins[outermost] = infinities
    return bins


@cache
def _code_ranges(layout: _Format) -> NDArray[np.int64]:
    """For each bin the first code that belongs to it and the first that no longer does."""
    codes = layout.codes // 2
    bias = codes // 2 - 1
    powers = np.clip(np.arange(_EXPONENTS + 1) + _LEAST_EXPONENT + bias, 1, codes - 1)
    cuts = np.array([0, 1, *powers, codes - 1, codes])
    # The negative codes follow the positive ones, and their bins mirror them.
    first = [*(cuts[:-1][::-1] + codes), 0, *cuts[:-1], 0]
    last = [*(cuts[1:][::-1] + codes), 0, *cuts[1:], 0]
    return np.array([first, last])


def _name(array: Array) -> str:
    """The type's name in either library; bytes in foreign order make another type, which has none here."""
    return str(array.dtype).removeprefix("torch.")
