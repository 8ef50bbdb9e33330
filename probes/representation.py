"""What a layer represents: along how many directions it spreads, and how alike two layers are."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from probes.arrays import Array, namespace_of, quotient, readable, returned
from probes.catalogue import probe
from probes.rows import centred, example_rows, on_host, only_if_finite, position_rows, wide

# The points with the largest ratios of distances are left out of the fit, as its authors do.
_FITTED_SHARE = 0.9


@probe(
    unit="directions",
    eats="matrix",
    cost="dear",
    source="Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007",
)
def effective_rank(matrix: Array) -> Array:
    """Exponential of the entropy of the singular values, each taken over their sum, as Roy and Vetterli define it.

    It counts the directions that a matrix uses, and counts weak ones in part [1]. Others give the same
    name to the number of singular values that hold 99 % of the sum, or take their squares: such numbers
    do not compare with this one. Many tiny singular values of noise add up to a high rank; beside it
    `stable_rank` sees the strongest alone.

    Args:
        matrix: Shape ``(rows, columns)``, neither of them 0; flatten a convolution's weight to
            ``(out_channels, rest)``. For an activation see `activation_effective_rank`.

    Returns:
        A number between 1 and the smaller side, 0-d, float64 in the library of ``matrix``; NaN for a matrix
        of zeros, which has no directions, and where there is NaN or infinity in it.

    Raises:
        ValueError: If ``matrix`` is not 2-D, or is empty.

    Example:
        >>> round(float(effective_rank(np.diag([1.0, 1.0, 1.0, 0.0]))), 12)
        3.0

    References:
        [1] Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    """
    values = _relative_singular_values(_whole_matrix("effective_rank", matrix))
    return returned(_entropy_rank(values), matrix)


@probe(
    unit="directions",
    eats="matrix",
    cost="dear",
    source="Rudelson and Vershynin, Sampling from large matrices, 2007, arXiv:math/0503442",
)
def stable_rank(matrix: Array) -> Array:
    """Squared Frobenius norm over squared spectral norm.

    Never above the rank, and hardly moved by small singular values [1]; one that is much stronger than
    the others takes it down to about 1, however many others there are.

    Args:
        matrix: Shape ``(rows, columns)``, neither of them 0; flatten a convolution's weight to
            ``(out_channels, rest)``. For an activation see `activation_stable_rank`.

    Returns:
        A number between 1 and the smaller side, 0-d, float64 in the library of ``matrix``; NaN for a matrix
        of zeros, and where there is NaN or infinity in it.

    Raises:
        ValueError: If ``matrix`` is not 2-D, or is empty.

    Example:
        >>> float(stable_rank(np.diag([2.0, 1.0, 1.0])))
        1.5

    References:
        [1] Rudelson and Vershynin, "Sampling from large matrices: an approach through geometric functional
            analysis", 2007, arXiv:math/0503442.
    """
    values = _relative_singular_values(_whole_matrix("stable_rank", matrix))
    return returned(_energy_rank(values), matrix)


@probe(
    unit="directions",
    eats="activation",
    cost="dear",
    source="Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007",
)
def activation_effective_rank(activation: Array) -> Array:
    """`effective_rank` of the activations less the mean of each unit: along how many directions examples differ.

    A rank that falls while training goes on, or with depth, means that examples are told apart by less
    and less [1]. It cannot pass the number of rows less one, so that only equal batch sizes compare. In a
    classifier that fits its data the last hidden layer goes to the number of classes less one, and is
    healthy: see `class_mean_simplex_deviation`.

    Args:
        activation: Output of the layer, shape ``(batch, units)`` or ``(batch, units, *space)``; each
            position of each example is a row of the matrix, each unit a column.

    Returns:
        A number of at least 1, 0-d, float64 in the library of ``activation``; NaN where all rows are the
        same, and where there is NaN or infinity.

    Raises:
        ValueError: If there is no axis of units, or there are no examples, units or positions.

    Example:
        >>> square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(activation_effective_rank(square + 100)), 12)
        2.0

    References:
        [1] Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    """
    values = _relative_singular_values(_variation("activation_effective_rank", activation))
    return returned(_entropy_rank(values), activation)


@probe(
    unit="directions",
    eats="activation",
    cost="dear",
    source="Rudelson and Vershynin, Sampling from large matrices, 2007, arXiv:math/0503442",
)
def activation_stable_rank(activation: Array) -> Array:
    """`stable_rank` of the activations less the mean of each unit: total variance over that of the main direction.

    About 1 means that examples differ along a single direction, as they do where a layer's output
    collapses or one outlying unit drowns the others [1].

    Args:
        activation: Output of the layer, shape ``(batch, units)`` or ``(batch, units, *space)``; each
            position of each example is a row of the matrix, each unit a column.

    Returns:
        A number of at least 1, 0-d, float64 in the library of ``activation``; NaN where all rows are the
        same, and where there is NaN or infinity.

    Raises:
        ValueError: If there is no axis of units, or there are no examples, units or positions.

    Example:
        >>> square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> float(activation_stable_rank(square + 100))
        2.0

    References:
        [1] Rudelson and Vershynin, "Sampling from large matrices: an approach through geometric functional
            analysis", 2007, arXiv:math/0503442.
    """
    values = _relative_singular_values(_variation("activation_stable_rank", activation))
    return returned(_energy_rank(values), activation)


@probe(
    unit="1",
    eats=("activation", "activation"),
    cost="dear",
    source="Kornblith et al., Similarity of Neural Network Representations Revisited, 2019, arXiv:1905.00414",
)
def linear_cka(activation: Array, other: Array) -> Array:
    """Centred kernel alignment of two layers on the same examples, with the linear kernel; biased upward.

    It says how far two layers, or one layer of two networks, tell the same examples apart in the same
    way; rotating a layer or scaling it as a whole changes nothing [1]. With fewer examples than units it
    is near 1 for unrelated layers too: take `debiased_linear_cka` there. A few outlying examples may
    decide it, and the layers of a residual network are alike by construction.

    Args:
        activation: Output of one layer, shape ``(batch, ...)``; all entries of an example are its features.
        other: Output of the other layer on the same examples, in their order, shape ``(batch, ...)``; of
            the same library.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``; NaN where a layer's output is the
        same on all examples, and where there is NaN or infinity.

    Raises:
        ValueError: If the layers have different numbers of examples, or there are fewer than two.

    Example:
        >>> layer = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
        >>> round(float(linear_cka(layer, 5 * layer @ np.array([[0.6, 0.8], [-0.8, 0.6]]))), 12)
        1.0

    References:
        [1] Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019,
            arXiv:1905.00414.
    """
    one, two = _paired_rows("linear_cka", activation, other, least=2)
    with np.errstate(all="ignore"):
        alignment = quotient(_overlap(one, two), (_overlap(one, one) * _overlap(two, two)) ** 0.5)
    return returned(only_if_finite(alignment, one, two), activation)


@probe(
    unit="1",
    eats=("activation", "activation"),
    cost="dear",
    source="Nguyen et al., Do Wide and Deep Networks Learn the Same Things?, 2021, arXiv:2010.15327",
)
def debiased_linear_cka(activation: Array, other: Array) -> Array:
    """Centred kernel alignment with the linear kernel, from unbiased estimates of its three terms.

    The terms leave out what an example shares with itself, and unlike in `linear_cka` unrelated layers
    come out at 0 on average however few the examples are [1, 2]. A quotient of unbiased estimates is not
    itself unbiased, and on a dozen examples it scatters widely.

    Args:
        activation: Output of one layer, shape ``(batch, ...)``; all entries of an example are its features.
        other: Output of the other layer on the same examples, in their order, shape ``(batch, ...)``; of
            the same library.

    Returns:
        A number in [-1, 1], 0-d, float64 in the library of ``activation``; below 0 it reads "no more alike
        than by chance". NaN where a layer's output is the same on all examples, and where there is NaN or
        infinity.

    Raises:
        ValueError: If the layers have different numbers of examples, or there are fewer than four.

    Example:
        >>> layer = np.random.default_rng(0).standard_normal((30, 1000))
        >>> noise = np.random.default_rng(1).standard_normal((30, 1000))
        >>> round(float(linear_cka(layer, noise)), 2), round(float(debiased_linear_cka(layer, noise)), 2)
        (0.97, 0.01)

    References:
        [1] Nguyen et al., "Do Wide and Deep Networks Learn the Same Things?", 2021, arXiv:2010.15327.
        [2] Song et al., "Feature Selection via Dependence Maximization", 2012.
    """
    one, two = _paired_rows("debiased_linear_cka", activation, other, least=4)
    with np.errstate(all="ignore"):
        kernel, kernel_of_other = _without_bias(one @ one.T), _without_bias(two @ two.T)
        alignment = _cosine(kernel, kernel_of_other)
    return returned(only_if_finite(alignment, one, two), activation)


@probe(
    unit="dimensions",
    eats="activation",
    cost="dear",
    source="Facco et al., Estimating the intrinsic dimension of datasets, 2017, arXiv:1803.06992",
)
def two_nn_intrinsic_dimension(activation: Array) -> Array:
    """Intrinsic dimension of a layer's output, from the distances to each example's two nearest neighbours.

    On a d-dimensional manifold the ratio of the second distance to the first is Pareto distributed with
    exponent d, whatever the density; d is fitted to the smallest 90 % of the ratios [1]. Along a
    network it tends to rise and then fall, which describes and does not accuse. It is too low where the
    dimension is high and examples are few (20 dimensions look like 15 to 17 on a thousand examples), and
    noise that is smaller than the spacing of the examples is not seen. Copies of an example are counted
    once. Its standard error is about d over the root of the number of examples.

    Args:
        activation: Output of the layer, shape ``(batch, ...)``; all entries of an example are its features.

    Returns:
        A number above 0, 0-d, float64 in the library of ``activation``. NaN where fewer than three examples
        differ, where every example is as far from its second neighbour as from its first, as on a grid, and
        where there is NaN or infinity.

    Raises:
        ValueError: If there are fewer than three examples.

    Example:
        >>> line = np.random.default_rng(0).uniform(size=(1000, 1)) * np.array([[1.0, 2.0, 3.0]])
        >>> round(float(two_nn_intrinsic_dimension(line)), 1)
        1.0

    References:
        [1] Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood
            information", Scientific Reports 2017, arXiv:1803.06992.
    """
    points = on_host(example_rows("two_nn_intrinsic_dimension", activation, least=3))
    dimension = _fitted_dimension(points) if np.isfinite(points).all() else math.nan
    return returned(np.float64(dimension), activation)


def _whole_matrix(caller: str, matrix: Array) -> Array:
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(
            f"{caller} needs a matrix that is not empty, got shape {tuple(matrix.shape)}; "
            f"reshape a weight to (out, rest), and use activation_{caller} for an activation"
        )
    return wide(readable(matrix))


def _variation(caller: str, activation: Array) -> Array:
    return centred(position_rows(caller, activation))


def activation_ranks(activation: Array) -> tuple[Array, Array]:
    """`activation_effective_rank` and `activation_stable_rank`, from one singular value decomposition.

    Args:
        activation: Output of the layer, shape ``(batch, units)`` or ``(batch, units, *space)``.

    Returns:
        What the two return.

    Raises:
        ValueError: As they do.

    Example:
        >>> square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> [round(float(rank), 12) for rank in activation_ranks(square)]
        [2.0, 2.0]
    """
    values = _relative_singular_values(_variation("activation_ranks", activation))
    return returned(_entropy_rank(values), activation), returned(_energy_rank(values), activation)


def _entropy_rank(values: Array) -> Array:
    namespace = namespace_of(values)
    shares = values / namespace.sum(values)
    # Where a share is 0 the logarithm of 1 stands in for its own, since p log p goes to 0 with p.
    entropy = -namespace.sum(shares * namespace.log(namespace.where(shares == 0, 1.0, shares)))
    return namespace.exp(entropy)


def _energy_rank(values: Array) -> Array:
    return namespace_of(values).sum(values**2)


def _relative_singular_values(matrix: Array) -> Array:
    """Singular values over the largest, so that their squares stay in range; NaN where there is no largest."""
    namespace = namespace_of(matrix)
    finite = namespace.isfinite(matrix).all()
    # LAPACK gives up on NaN, which is to be a reading and not an error.
    values = namespace.linalg.svdvals(namespace.where(finite, matrix, namespace.zeros_like(matrix)))
    return quotient(values, values[0])


def _paired_rows(caller: str, activation: Array, other: Array, least: int) -> tuple[Array, Array]:
    if activation.shape[:1] != other.shape[:1]:
        raise ValueError(
            f"{caller} needs two layers on the same examples, got shapes {tuple(activation.shape)} and "
            f"{tuple(other.shape)}; record both on one batch"
        )
    return _of_unit_size(example_rows(caller, activation, least)), _of_unit_size(
        example_rows(caller, other, least)
    )


def _of_unit_size(rows: Array) -> Array:
    """Centred rows over their largest entry: alignment does not change, and fourth powers stay in range."""
    rows = centred(rows)
    return quotient(rows, namespace_of(rows).max(abs(rows)))


def _overlap(one: Array, two: Array) -> Array:
    """Squared Frobenius norm of ``oneᵀ two``, by way of whichever product is smaller."""
    namespace = namespace_of(one, two)
    if one.shape[0] ** 2 < one.shape[1] * two.shape[1]:
        return namespace.sum((one @ one.T) * (two @ two.T))
    return namespace.sum((one.T @ two) ** 2)


def _without_bias(kernel: Array) -> Array:
    """The kernel without its diagonal, centred so that inner products estimate without bias (U-centring)."""
    namespace = namespace_of(kernel)
    examples = kernel.shape[0]
    others = 1.0 - namespace.eye(examples, dtype=kernel.dtype, device=kernel.device)
    kernel = kernel * others
    sums = namespace.sum(kernel, axis=0) / (examples - 2)
    total = namespace.sum(sums) / (examples - 1)
    return (kernel - sums[:, None] - sums[None, :] + total) * others


def _cosine(one: Array, two: Array) -> Array:
    namespace = namespace_of(one, two)
    sizes = namespace.sum(one**2) * namespace.sum(two**2)
    return quotient(namespace.sum(one * two), sizes**0.5)


def _fitted_dimension(points: NDArray[np.float64]) -> float:
    """Slope through the origin of ``-log(1 - F)`` over the logarithm of the ratios, as sorted."""
    points = np.unique(points, axis=0)
    if len(points) < 3:
        return math.nan
    distances, _ = cKDTree(points).query(points, k=3)
    ratios = np.sort(np.log(quotient(distances[:, 2], distances[:, 1])))
    kept = math.floor(_FITTED_SHARE * len(points))
    heights = -np.log1p(-np.arange(1, kept + 1) / len(points))
    squares = np.dot(ratios[:kept], ratios[:kept])
    return float(quotient(np.dot(ratios[:kept], heights), squares))
