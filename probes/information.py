"""How much a layer tells of the labels or of another layer, in nats; each estimator has a name of its own.

Mutual information of continuous quantities cannot be measured, only estimated, and estimates disagree: a
network without noise keeps all there is to know of its input in every layer whose units can be inverted,
and what one sees move is the binning or the spacing of the examples. Compare numbers of one estimator, with
the same settings and the same number of examples, and draw no verdict from them [1].

[1] Saxe et al., "On the Information Bottleneck Theory of Deep Learning", ICLR 2018.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma

from probes.arrays import Array, returned
from probes.catalogue import probe
from probes.rows import example_rows, on_host


@probe(
    unit="nats",
    eats=("activation", "labels"),
    cost="dear",
    source="Shwartz-Ziv and Tishby, Opening the Black Box of Deep Neural Networks via Information, 2017, "
    "arXiv:1703.00810",
)
def binned_mutual_information(
    activation: Array, labels: Array, bins: int = 30, limits: tuple[float, float] | None = None
) -> Array:
    """Mutual information of a layer with the labels, each unit rounded to bins: the plug-in estimate.

    An example's bins, all units together, are one symbol; what symbols tell of labels is computed from how
    often each pair occurs [1]. With many units every example is a symbol of its own and the estimate says
    the entropy of the labels, whatever they are; with few bins it follows the saturation of the
    nonlinearity more than anything else [2]. Given ``numpy.arange(batch)`` for labels it is the entropy of
    the symbols, which the same work takes for the information of the layer with its input.

    Args:
        activation: Output of the layer, shape ``(batch, ...)``; all entries of an example are its units.
        labels: Integers of shape ``(batch,)``: the class of each example.
        bins: How many bins of equal width, at least 1.
        limits: Lower end of the first bin and upper end of the last, for all units; beyond them an entry
            counts for the nearest bin. The smallest and the largest entry of the activation if None:
            give the nonlinearity's own, such as (-1, 1) for tanh, to compare batches.

    Returns:
        A number between 0 and the smaller of the two entropies, 0-d, float64 in the library of
        ``activation``; NaN where there is NaN or infinity.

    Raises:
        ValueError: If there are no examples or units, the labels do not fit, ``bins`` is less than 1, or not
            ``low < high``, both finite.

    Example:
        >>> layer, labels = np.array([[-0.9], [-0.8], [0.7], [0.9]]), np.array([0, 0, 1, 1])
        >>> round(float(binned_mutual_information(layer, labels, bins=2, limits=(-1, 1))), 6)
        0.693147

    References:
        [1] Shwartz-Ziv and Tishby, "Opening the Black Box of Deep Neural Networks via Information", 2017,
            arXiv:1703.00810.
        [2] Saxe et al., "On the Information Bottleneck Theory of Deep Learning", ICLR 2018.
    """
    rows = on_host(example_rows("binned_mutual_information", activation))
    names = _names("binned_mutual_information", labels, len(rows))
    _check_bins(bins, limits)
    if not np.isfinite(rows).all():
        return returned(np.float64(math.nan), activation)
    low, high = limits or (float(rows.min()), float(rows.max()))
    _, symbols = np.unique(_binned(rows, low, high, bins), axis=0, return_inverse=True)
    together = _entropy(np.stack([symbols, names], axis=1))
    return returned(np.float64(max(_entropy(symbols) + _entropy(names) - together, 0.0)), activation)


@probe(
    unit="nats",
    eats=("activation", "activation"),
    cost="dear",
    source="Kraskov, Stögbauer and Grassberger, Estimating mutual information, 2004, arXiv:cond-mat/0305641",
)
def ksg_mutual_information(activation: Array, other: Array, k: int = 3) -> Array:
    """Mutual information of two continuous layers from nearest neighbours: Kraskov's first estimator.

    It counts how many examples lie as near in each layer alone as the k-th neighbour does in both
    together, by the maximum norm [1]; for independent layers it is 0 on average. Layers of a few units
    with noise in them are what it is for: in many dimensions it is far too low, and where one layer is a
    function of the other the truth is infinite and the estimate grows with the number of examples.
    Scale the layers alike before, for the estimate changes with their scale while the truth does not.

    Args:
        activation: Output of one layer, shape ``(batch, ...)``; all entries of an example are its units.
        other: Output of the other layer on the same examples, in their order, shape ``(batch, ...)``.
        k: Which neighbour, ``1 <= k < batch``; more of them scatter less and blur more.

    Returns:
        A number that may be below 0 by chance, 0-d, float64 in the library of ``activation``. NaN where an
        example has k copies of itself, which no continuous layer has, and where there is NaN or infinity.

    Raises:
        ValueError: If the layers have different numbers of examples, or not ``1 <= k < batch``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> signal, noise = rng.standard_normal((2, 2000, 1))
        >>> round(float(ksg_mutual_information(signal, 0.6 * signal + 0.8 * noise)), 2)  # -ln(0.8) = 0.22
        0.2...

    References:
        [1] Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Physical Review E 2004,
            arXiv:cond-mat/0305641.
    """
    one, two = (on_host(example_rows("ksg_mutual_information", layer)) for layer in (activation, other))
    if len(one) != len(two) or not 1 <= k < len(one):
        raise ValueError(
            f"ksg_mutual_information needs two layers on the same examples and 1 <= k < batch, got shapes "
            f"{tuple(activation.shape)} and {tuple(other.shape)} and k={k}; record both on one larger batch"
        )
    both = np.concatenate([one, two], axis=1)
    if not np.isfinite(both).all():
        return returned(np.float64(math.nan), activation)
    reach = _distance_to_neighbour(both, k)
    near = digamma(_count_within(one, reach)) + digamma(_count_within(two, reach))
    return returned(_unless_copies(digamma(k) + digamma(len(both)) - near.mean(), reach), activation)


@probe(
    unit="nats",
    eats=("activation", "labels"),
    cost="dear",
    source="Ross, Mutual information between discrete and continuous data sets, PLoS ONE 2014",
)
def ross_mutual_information(activation: Array, labels: Array, k: int = 3) -> Array:
    """Mutual information of a continuous layer with the labels from nearest neighbours: Ross's estimator.

    It counts how many examples of any class lie as near as the k-th neighbour of the same class, by the
    maximum norm [1]. It needs no bins, and is 0 on average where classes overlap wholly. It cannot pass
    the entropy of the labels by much; in many dimensions it is too low, since neighbours are all far.

    Args:
        activation: Output of the layer, shape ``(batch, ...)``; all entries of an example are its units.
        labels: Integers of shape ``(batch,)``: the class of each example.
        k: Which neighbour, at least 1 and less than the examples of the smallest class.

    Returns:
        A number that may be below 0 by chance, 0-d, float64 in the library of ``activation``. NaN where an
        example has k copies of itself in its class, which no continuous layer has, and where there is NaN
        or infinity.

    Raises:
        ValueError: If there are no examples or units, the labels do not fit, or a class has too few
            examples for k.

    Example:
        >>> labels = np.arange(1000) % 2
        >>> layer = labels[:, None] * 5 + np.random.default_rng(0).uniform(size=(1000, 1))
        >>> round(float(ross_mutual_information(layer, labels)), 2)  # ln(2) = 0.69
        0.69

    References:
        [1] Ross, "Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 2014.
    """
    rows = on_host(example_rows("ross_mutual_information", activation))
    names = _names("ross_mutual_information", labels, len(rows))
    counts = np.bincount(names)
    if not 1 <= k < counts.min():
        raise ValueError(
            f"ross_mutual_information needs more than k >= 1 examples of each class, got k={k} and a class "
            f"of {counts.min()}; choose a smaller k, or a larger batch"
        )
    if not np.isfinite(rows).all():
        return returned(np.float64(math.nan), activation)
    reach = np.empty(len(rows))
    for name in range(len(counts)):
        reach[names == name] = _distance_to_neighbour(rows[names == name], k)
    near = digamma(_count_within(rows, reach)) + digamma(counts[names])
    return returned(_unless_copies(digamma(k) + digamma(len(rows)) - near.mean(), reach), activation)


def _names(caller: str, labels: Array, examples: int) -> NDArray[np.int64]:
    """The classes as integers from 0 on, none of them empty."""
    told = on_host(labels)
    if told.shape != (examples,) or told.dtype.kind not in "iu":
        raise ValueError(
            f"{caller} needs one integer label an example, got {told.dtype} of shape {told.shape} for "
            f"{examples} examples; take the argmax of one-hot targets"
        )
    return np.unique(told, return_inverse=True)[1]


def _check_bins(bins: int, limits: tuple[float, float] | None) -> None:
    low, high = limits or (0.0, 1.0)
    if bins < 1 or not -math.inf < low < high < math.inf:
        raise ValueError(
            f"binned_mutual_information needs at least one bin and finite limits low < high, got bins={bins} "
            f"and limits={limits}; use (-1, 1) for tanh, (0, 1) for the logistic sigmoid"
        )


def _binned(rows: NDArray[np.float64], low: float, high: float, bins: int) -> NDArray[np.int64]:
    """Number of the bin of each entry; all in the first where the bins have no width."""
    width = (high - low) or 1.0
    return np.clip((rows - low) / width * bins, 0, bins - 1).astype(np.int64)


def _entropy(symbols: NDArray[np.int64]) -> float:
    """Entropy of how often each symbol, or each row of symbols, occurs."""
    _, counts = np.unique(symbols, axis=0, return_counts=True)
    shares = counts / len(symbols)
    return float(-np.sum(shares * np.log(shares)))


def _distance_to_neighbour(points: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Largest difference in any coordinate to the k-th nearest other point."""
    # The nearest of all is the point itself.
    return cKDTree(points).query(points, k=[k + 1], p=math.inf)[0][:, 0]


def _count_within(points: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many points lie nearer to each than its reach, itself among them."""
    nearer = np.nextafter(reach, 0.0)
    return cKDTree(points).query_ball_point(points, nearer, p=math.inf, return_length=True)


def _unless_copies(information: float, reach: NDArray[np.float64]) -> np.float64:
    return np.float64(information if reach.min() > 0 else math.nan)
