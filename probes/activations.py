"""What a layer puts out: how large its entries are, how heavy their tails, how many are zero or no numbers."""

import math
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array

from probes.arrays import Array, fraction, namespace_of, norm, quotient, readable, returned, widest_float
from probes.catalogue import probe
from probes.rows import check_holds_something, wide

# In blocks of this many entries the temporary arrays stay in the cache of one core.
_BLOCK = 16384


@probe(unit="activation", eats="activation", cost="cheap", source="LeCun et al., Efficient BackProp, 1998")
def activation_mean(activation: Array) -> Array:
    """Mean over all entries of the batch.

    A mean far from zero, relative to the root mean square, shifts every unit of the next layer the same
    way and slows learning [1]. After a rectifier it is positive by construction, so watch it over time
    there and not against zero.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        The mean, 0-d, in the library of ``activation`` and in its precision, float32 at least. Infinities
        and NaN carry through.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_mean(np.array([[1.0, 3.0], [2.0, 2.0]])))
        2.0

    References:
        [1] LeCun et al., "Efficient BackProp", 1998.
    """
    check_holds_something("activation_mean", activation)
    seen = readable(activation)
    namespace = namespace_of(seen)
    with np.errstate(all="ignore"):
        mean = namespace.mean(namespace.astype(seen, _mean_type(seen), copy=False))
    return returned(mean, activation)


@probe(
    unit="activation",
    eats="activation",
    cost="cheap",
    source="He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852",
)
def activation_rms(activation: Array) -> Array:
    """Root mean square over all entries of the batch: how large the signal is at this layer.

    It should neither fade nor grow from layer to layer at initialisation [1]. A few huge entries
    dominate it.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``activation``. Infinities and NaN carry
        through.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_rms(np.array([[1.0, -1.0], [1.0, -1.0]])))
        1.0

    References:
        [1] He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852.
    """
    check_holds_something("activation_rms", activation)
    return norm(activation) / math.sqrt(math.prod(activation.shape))


@probe(
    unit="1",
    eats="activation",
    cost="cheap",
    source="Bondarenko et al., Quantizable Transformers, 2023, arXiv:2306.12929",
)
def activation_kurtosis(activation: Array) -> Array:
    """Fourth central moment over the squared variance, of all entries: how heavy the tails are.

    3 for a normal distribution (no 3 is taken off), more where few entries far out carry the variance. It
    tells outlying units that spoil quantisation and mixed precision [1]. Of all the moments it hangs
    most on single entries: numbers from batches of different size hardly compare. A rectifier's zeros
    raise it in health.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        A number of at least 1, 0-d, float64 in the library of ``activation``; NaN where all entries are
        the same, and where there is NaN or infinity.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_kurtosis(np.array([[1.0, -1.0], [1.0, -1.0]])))
        1.0

    References:
        [1] Bondarenko et al., "Quantizable Transformers: Removing Outliers by Helping Attention Heads Do
            Nothing", 2023, arXiv:2306.12929.
    """
    check_holds_something("activation_kurtosis", activation)
    seen = readable(activation)
    second, fourth = _central_moments(namespace_of(seen).reshape(seen, (-1,)), activation_rms(seen))
    return returned(quotient(fourth, second**2), activation)


@probe(
    unit="fraction of entries",
    eats="activation",
    cost="cheap",
    source="Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, 2011",
)
def activation_zero_fraction(activation: Array) -> Array:
    """Fraction of entries that are exactly zero: how sparse the layer's output is.

    About half of a healthy rectifier's entries are zero [1], each unit firing on other examples. That
    says nothing of dead units, which are zero on all examples: see `dead_unit_rate`.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``. NaN is not zero.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_zero_fraction(np.array([[0.0, 2.0], [1.0, 0.0]])))
        0.5

    References:
        [1] Glorot, Bordes and Bengio, "Deep Sparse Rectifier Neural Networks", 2011.
    """
    check_holds_something("activation_zero_fraction", activation)
    seen = readable(activation)
    # A comparison first: NumPy counts booleans many times as fast as it asks floats whether they are zero.
    zeros = namespace_of(seen).count_nonzero(seen == 0)
    return returned(fraction(zeros, math.prod(seen.shape)), activation)


@probe(unit="entries", eats="array", cost="cheap", source="IEEE 754-2019")
def non_finite_count(array: Array) -> Array:
    """How many entries are NaN or infinite.

    One is enough to spoil a step, and the layer where the count first leaves zero is where to look. A
    mixed-precision loss scale that is being tried out produces some in health.

    Args:
        array: Any array; an empty one has none.

    Returns:
        An integer of at least 0, 0-d, in the library of ``array``.

    Example:
        >>> int(non_finite_count(np.array([1.0, np.nan, -np.inf])))
        2
    """
    seen = readable(array)
    # A finite norm proves every entry finite at the speed of memory, without an array of booleans. On an
    # accelerator, looking at it would stall the queue for longer than it saves.
    if is_numpy_array(seen) and math.isfinite(norm(seen)):
        return returned(np.int64(0), array)
    namespace = namespace_of(seen)
    return returned(namespace.count_nonzero(~namespace.isfinite(seen)), array)


def _central_moments(entries: Array, scale: Array) -> tuple[Array, Array]:
    """Second and fourth central moment of the entries over the scale, which keeps fourth powers in range."""
    namespace, size = namespace_of(entries), entries.shape[0]
    step = _BLOCK if is_numpy_array(entries) else size
    blocks = [entries[start : start + step] for start in range(0, size, step)]
    # Seen from one of them, entries that are all the same are exactly 0, as they are not from a rounded mean.
    origin = wide(entries[:1])
    second = fourth = 0.0
    with np.errstate(all="ignore"):
        mean = sum(namespace.sum(wide(block) - origin) for block in blocks) / size
        for block in blocks:
            squares = ((wide(block) - origin - mean) / scale) ** 2
            second = second + namespace.sum(squares)
            fourth = fourth + namespace.sum(squares * squares)
    return second / size, fourth / size


def _mean_type(activation: Array) -> Any:
    namespace = namespace_of(activation)
    if activation.dtype in (namespace.float32, namespace.float64):
        return activation.dtype
    if namespace.isdtype(activation.dtype, "real floating"):
        return namespace.float32
    return widest_float(activation)
