"""How large gradients are, how they change with depth and from step to step, and what is wrong in them."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from array_api_compat import device, is_numpy_array, to_device
from numpy.typing import NDArray

from probes.activations import non_finite_count
from probes.arrays import (
    Array,
    detached,
    fraction,
    namespace_of,
    norm,
    norms,
    quotient,
    readable,
    returned,
    widest_float,
)
from probes.catalogue import probe

Pair: TypeAlias = tuple[NDArray[np.generic], NDArray[np.generic]]

# Entries of which all products are taken at a time, few enough to stay in the processor's cache; and
# those added up in their own type, too few for it to drift, or for BLAS to wake its threads.
_STRETCH = 1 << 15
_RUN = 1 << 10

# A sum of float32 squares below this may have lost digits to numbers too small for the type.
_LOWEST = 1e-30

# A sum of squares beyond these has lost digits, or all of them, to the ends of float64.
_SQUARES_IN_RANGE = (1e-290, 1e300)


class NormSlope(NamedTuple):
    """What `gradient_norm_slope` finds.

    Attributes:
        slope: Change of the norm's natural logarithm from one layer to the next, 0-d; ``exp(slope)`` is the
            factor per layer.
        r_squared: Share of the logarithms' variance that the line explains, in [0, 1], 0-d.
        left_out: How many layers had a norm of exactly zero, which has no logarithm; an integer, 0-d.
    """

    slope: Array
    r_squared: Array
    left_out: Array


@probe(
    unit="loss per weight",
    eats="gradient",
    cost="cheap",
    source="Pascanu et al., On the difficulty of training recurrent neural networks, 2013, arXiv:1211.5063",
)
def gradient_norm(gradient: Array) -> Array:
    """Euclidean norm of a parameter's gradient.

    It tells vanishing and exploding gradients [1] when it is compared over depth or time. It grows with
    the number of entries, so two parameters of different size are not compared by it; and it is the
    gradient of the loss as it is reduced, so a sum over the batch has a norm that a mean does not.

    Args:
        gradient: Gradient of the loss with respect to a parameter (not to a layer's output), any shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``gradient``; 0 for an empty one, NaN or
        infinite where an entry is.

    Example:
        >>> float(gradient_norm(np.array([[3.0, 0.0], [0.0, 4.0]])))
        5.0

    References:
        [1] Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, arXiv:1211.5063.
    """
    return norm(gradient)


def combined_norm(norms: Array) -> Array:
    """Norm of parts that are measured already: a layer's from its parameters, the network's from its layers.

    Args:
        norms: Norms of the parts, shape ``(parts,)``.

    Returns:
        The root of the sum of their squares, 0-d, float64 in the library of ``norms``; it neither overflows
        nor underflows where the result does not.

    Raises:
        ValueError: If there is not one norm, or they are not 1-D.

    Example:
        >>> float(combined_norm(np.array([3.0, 4.0])))
        5.0
    """
    _check_row("combined_norm", norms, least=1)
    return norm(norms)


@probe(
    unit="1",
    eats="norms",
    cost="free",
    source="Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
)
def gradient_norm_ratio(norms: Array) -> Array:
    """Gradient norm of the first layer over that of the last.

    Far below 1 the gradient vanishes on its way back, far above 1 it explodes [1]. Layers of very
    different size move it without either, and a skip connection hides what happens between.

    Args:
        norms: Gradient norms of the layers in order of execution, shape ``(layers,)``.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``norms``: 1 means the same at both ends,
        infinity that only the last layer's is zero, NaN that both are or that one is NaN.

    Raises:
        ValueError: If there are fewer than two norms, or they are not 1-D.

    Example:
        >>> float(gradient_norm_ratio(np.array([0.5, 7.0, 2.0])))
        0.25

    References:
        [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
            networks", 2010.
    """
    _check_row("gradient_norm_ratio", norms, least=2)
    row = namespace_of(norms).astype(detached(norms), widest_float(norms))
    return quotient(row[0], row[-1])


@probe(
    unit="1 per layer",
    eats="norms",
    cost="free",
    source="Schoenholz et al., Deep Information Propagation, 2017, arXiv:1611.01232",
)
def gradient_norm_slope(norms: Array) -> NormSlope:
    """Slope of the logarithm of the gradient norm over depth, fitted to all layers by least squares.

    In a deep network at initialisation the norm grows or fades by about the same factor in every layer
    [1], and all layers together tell that factor better than the two at the ends: ``|slope| * layers``
    above ``ln 1000`` with an R² above a half is a network that will hardly train. Layers of different
    kind or size bend the line (embeddings and heads most), which R² shows; two layers always lie on one.

    A layer whose norm is zero, because it is frozen or cut off, is left out, keeps its place in the
    depth, and is counted. A norm that is NaN or infinite is no such layer: it makes slope and R² NaN.

    Args:
        norms: Gradient norms of the layers in order of execution, shape ``(layers,)``.

    Returns:
        Slope, R² and layers left out, in the library of ``norms``, the first two in its widest float. A slope
        above 0 says that the norm grows from first layer to last, so that the gradient fades on its way
        back. Both are NaN where fewer than two layers are left; R² is NaN where all norms are equal.

    Raises:
        ValueError: If there are fewer than two norms, or they are not 1-D.

    Example:
        >>> slope, r_squared, left_out = gradient_norm_slope(np.array([1.0, 10.0, 0.0, 1000.0]))
        >>> round(float(np.exp(slope)), 12), round(float(r_squared), 12), int(left_out)
        (10.0, 1.0, 1)

    References:
        [1] Schoenholz et al., "Deep Information Propagation", 2017, arXiv:1611.01232.
    """
    _check_row("gradient_norm_slope", norms, least=2)
    namespace, dtype = namespace_of(norms), widest_float(norms)
    row = namespace.astype(detached(norms), dtype)
    fitted = namespace.astype(row != 0, dtype)
    depth = namespace.arange(row.shape[0], dtype=dtype, device=device(row))
    with np.errstate(all="ignore"):
        height = namespace.log(namespace.where(row == 0, namespace.ones_like(row), row))
        depth, height = (_less_mean(values, fitted) for values in (depth, height))
        together, along, up = ((a * b).sum() for a, b in ((depth, height), (depth, depth), (height, height)))
    r_squared = quotient(together * together, along * up)
    return NormSlope(quotient(together, along), r_squared, namespace.count_nonzero(row == 0))


@probe(
    unit="1",
    eats=("gradients", "gradients"),
    cost="cheap",
    source="Riedmiller and Braun, A direct adaptive method for faster backpropagation learning, 1993",
)
def gradient_cosine(gradients: Sequence[Array], previous: Sequence[Array]) -> Array:
    """Cosine of the angle between a step's gradient and the one before, both over all of their tensors.

    Near -1 the steps bounce from wall to wall of a valley and the learning rate is too high along it;
    near 0 they are noise or turn freely; near 1 they go one way and could be longer [1]. Sustained at 1 it
    also tells gradients that are never set to zero, and summed up step after step. Mini-batches
    draw it towards 0 in proportion to their noise, so it compares only at the same batch size.

    Args:
        gradients: The gradient of each tensor, any shapes. For one tensor alone, a list of one.
        previous: Those of the step before, same order and shapes; copies, for the arrays are used again.

    Returns:
        A number in [-1, 1], 0-d, float64 in the library of ``gradients``; for float32 right to about 1e-7.
        NaN where either gradient has no direction: it is zero, holds NaN or infinity, or has a norm beyond
        1e-145 to 1e150.

    Raises:
        ValueError: If there are no gradients, or the two lists differ in length or shapes.
        TypeError: If the arrays are of several libraries, or of none.

    Example:
        >>> float(gradient_cosine([np.array([3.0]), np.array([4.0])], [np.array([4.0]), np.array([3.0])]))
        0.96

    References:
        [1] Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
            algorithm", 1993.
    """
    _check_pairs(gradients, previous)
    namespace_of(*gradients, *previous)
    views = [(readable(one), readable(other)) for one, other in zip(gradients, previous, strict=True)]
    if all(is_numpy_array(array) for pair in views for array in pair):
        return returned(np.float64(_cosine_on_host(views)), gradients[0])
    return _cosine_on_device(views)


@probe(
    unit="fraction of entries",
    eats="gradient",
    cost="cheap",
    source="Micikevicius et al., Mixed Precision Training, 2018, arXiv:1710.03740",
)
def gradient_zero_fraction(gradient: Array) -> Array:
    """Fraction of a gradient's entries that are exactly zero.

    In half precision a fraction that jumps tells gradients too small for the type, which a larger loss
    scale brings back [1]; in any precision, weights that nothing trains. Rows of an embedding that the
    batch did not use, and weights behind units that did not fire, are zero in health.

    Args:
        gradient: Any shape that is not empty.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``gradient``; NaN entries are not zero.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(gradient_zero_fraction(np.array([[0.0, -0.0], [1.0, np.nan]])))
        0.5

    References:
        [1] Micikevicius et al., "Mixed Precision Training", 2018, arXiv:1710.03740.
    """
    _check_holds_entries("gradient_zero_fraction", gradient)
    seen = readable(gradient)
    zeros = namespace_of(seen).count_nonzero(seen == 0)
    return returned(fraction(zeros, math.prod(seen.shape)), gradient)


@probe(unit="fraction of entries", eats="gradient", cost="cheap", source="IEEE 754-2019")
def gradient_non_finite_fraction(gradient: Array) -> Array:
    """Fraction of a gradient's entries that are NaN or infinite.

    One entry tells a local cause, such as a division by zero in one example; all of them that the loss
    itself was not finite. A loss scale that is being tried out produces some in health.

    Args:
        gradient: Any shape that is not empty.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``gradient``.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(gradient_non_finite_fraction(np.array([1.0, np.nan, -np.inf, 0.0])))
        0.5
    """
    _check_holds_entries("gradient_non_finite_fraction", gradient)
    count = non_finite_count(readable(gradient))
    return returned(fraction(count, math.prod(gradient.shape)), gradient)


def _less_mean(values: Array, weights: Array) -> Array:
    """Deviation from the weighted mean, 0 where the weight is 0."""
    mean = quotient((values * weights).sum(), weights.sum())
    return (values - mean) * weights


def _cosine_on_host(pairs: Sequence[Pair]) -> float:
    with np.errstate(all="ignore"):
        square, together, other_square = _product_sums(pairs)
        if not all(_LOWEST < number < math.inf for number in (square, other_square)):
            widened = [(one.astype(np.float64), other.astype(np.float64)) for one, other in pairs]
            square, together, other_square = _product_sums(widened)
    least, most = _SQUARES_IN_RANGE
    if not (least < square < most and least < other_square < most):
        return math.nan
    return min(1.0, max(-1.0, together / math.sqrt(square) / math.sqrt(other_square)))


def _product_sums(pairs: Sequence[Pair]) -> tuple[float, float, float]:
    """Both sums of squares, and that of products between them, in one pass over memory."""
    square = together = other_square = 0.0
    for pair in pairs:
        one, other = _flattened_alike(*pair)
        for start in range(0, one.size, _STRETCH):
            a, b = (_multipliable(flat[start : start + _STRETCH]) for flat in (one, other))
            square += _dot(a, a)
            together += _dot(a, b)
            other_square += _dot(b, b)
    return square, together, other_square


def _dot(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Sum of products, run by run, so that float32 is added up in float32 over short runs only."""
    whole = one.size - one.size % _RUN
    runs = np.vecdot(*(flat[:whole].reshape(-1, _RUN) for flat in (one, other)))
    return float(runs.sum(dtype=np.float64)) + float(np.dot(one[whole:], other[whole:]))


def _multipliable(flat: NDArray[np.generic]) -> NDArray[np.generic]:
    return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)


def _flattened_alike(one: NDArray[np.generic], other: NDArray[np.generic]) -> Pair:
    """Both in one order of entries: as they lie in memory, without a copy, where they lie alike."""
    if one.strides == other.strides:
        return one.ravel(order="K"), other.ravel(order="K")
    return one.ravel(), other.ravel()


def _cosine_on_device(pairs: Sequence[tuple[Array, Array]]) -> Array:
    ones, others = ([detached(pair[side]) for pair in pairs] for side in (0, 1))
    sizes = norm(norms(ones)), norm(norms(others))
    namespace = namespace_of(sizes[0])
    products = [_dot_on_device(*pair) for pair in zip(ones, others, strict=True)]
    together = namespace.stack([to_device(product, device(sizes[0])) for product in products]).sum()
    cosine = namespace.clip(together / sizes[0] / sizes[1], -1.0, 1.0)
    least, most = (math.sqrt(limit) for limit in _SQUARES_IN_RANGE)
    for size in sizes:
        cosine = namespace.where(
            (size > least) & (size < most), cosine, namespace.full_like(cosine, math.nan)
        )
    return cosine


def _dot_on_device(one: Array, other: Array) -> Array:
    # In place, so that the product takes no more memory than the widened copy.
    product = namespace_of(one).astype(one, widest_float(one), copy=True)
    product *= other
    return product.sum()


def _check_pairs(gradients: Sequence[Array], previous: Sequence[Array]) -> None:
    shapes = [[tuple(array.shape) for array in arrays] for arrays in (gradients, previous)]
    if not shapes[0] or shapes[0] != shapes[1]:
        raise ValueError(
            f"gradient_cosine needs two lists of gradients of the same tensors, got shapes {shapes[0]} and "
            f"{shapes[1]}; pass the tensors that have a gradient in both steps"
        )


def _check_holds_entries(caller: str, gradient: Array) -> None:
    if 0 in gradient.shape:
        raise ValueError(
            f"{caller} needs at least one entry, got shape {tuple(gradient.shape)}; leave empty tensors out"
        )


def _check_row(caller: str, norms: Array, least: int) -> None:
    if norms.ndim != 1 or norms.shape[0] < least:
        wanted = "one norm" if least == 1 else "two norms"
        raise ValueError(
            f"{caller} needs a 1-D array of at least {wanted}, got shape {tuple(norms.shape)}; "
            f"stack the norms of the layers that have a gradient"
        )
