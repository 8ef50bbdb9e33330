"""How the classes lie in the last hidden layer: the four marks of neural collapse.

A classifier that is trained on beyond zero training error ends in a simple picture [1]: examples shrink
onto the mean of their class (NC1), the class means, seen from their centre, become the corners of a
simplex, equally long and at equal angles (NC2), the classifier's weights line up with them (NC3), and it
decides for the class whose mean is nearest (NC4). That is a state and no fault.

In all of it each class counts alike, however many examples of it are there: the centre is the mean of the
class means. With equal numbers that is the mean of the examples, as in the paper.

[1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning
training", PNAS 2020, arXiv:2008.08186.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from probes.arrays import Array, fraction, namespace_of, quotient, readable, returned
from probes.catalogue import probe
from probes.rows import example_rows, only_if_finite, wide

_SOURCE = "Papyan, Han and Donoho, Prevalence of neural collapse, PNAS 2020, arXiv:2008.08186"


@probe(unit="1", eats=("activation", "labels"), cost="dear", source=_SOURCE)
def within_class_variability(activation: Array, labels: Array) -> Array:
    """NC1: variance within classes against that between them, ``trace(Σ_W pinv(Σ_B)) / classes``.

    It goes to 0 as the examples of a class become one point [1]. The variance within is measured in the
    span of the class means alone, and there in units of how far the means lie apart: two classes whose
    means nearly coincide make it huge by themselves, and with one example of each class it is 0 and
    says nothing.

    Args:
        activation: Input of the classifier, shape ``(batch, ...)``; all entries of an example are its
            features.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``activation``; NaN where all class means are
        the same, and where there is NaN or infinity.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes.

    Example:
        >>> features = np.array([[0.0], [2.0], [10.0], [12.0]])  # Variance 1 within classes, 25 between.
        >>> float(within_class_variability(features, np.array([0, 0, 1, 1])))
        0.02

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    classes = _classes("within_class_variability", activation, labels)
    namespace = namespace_of(classes.features)
    residuals, inverse, directions = _between_classes(classes)
    spread = namespace.sum((residuals @ directions.T * inverse) ** 2, axis=1)
    # Σ_B is V (sizes²/C) Vᵀ, so that its pseudo-inverse and the division by C leave 1/sizes².
    variability = namespace.sum(spread / classes.counts[classes.index]) / classes.counts.shape[0]
    variability = namespace.where(inverse[0] > 0, variability, math.nan)
    return returned(only_if_finite(variability, classes.features), activation)


@probe(unit="1", eats=("activation", "labels"), cost="dear", source=_SOURCE)
def class_mean_norm_spread(activation: Array, labels: Array) -> Array:
    """NC2, equal norms: standard deviation over mean of the class means' distances from their centre.

    It goes to 0 as the class means become equally long [1]; of two classes it is 0 always. Where classes
    are of different sizes in training, the means of the rare ones stay shorter.

    Args:
        activation: Input of the classifier, shape ``(batch, ...)``.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``activation``; NaN where all class means are
        the same, and where there is NaN or infinity.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes.

    Example:
        >>> round(float(class_mean_norm_spread(np.eye(3), np.array([0, 1, 2]))), 12)
        0.0

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    offsets = _classes("class_mean_norm_spread", activation, labels).offsets
    lengths = _lengths(offsets)
    namespace = namespace_of(lengths)
    spread = quotient(namespace.std(_made_finite(lengths)), namespace.mean(lengths))
    return returned(only_if_finite(spread, lengths), activation)


@probe(unit="1", eats=("activation", "labels"), cost="dear", source=_SOURCE)
def class_mean_cosines(activation: Array, labels: Array) -> Array:
    """NC2, angles: cosine between the means of each two classes, as seen from the centre of all.

    Of C classes in neural collapse all are ``-1 / (C - 1)``, the widest angle that so many directions can
    have with each other [1]. A pair far above the others is two classes that the network confuses.

    Args:
        activation: Input of the classifier, shape ``(batch, ...)``.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example.

    Returns:
        Numbers in [-1, 1], shape ``(C (C - 1) / 2,)``, float64 in the library of ``activation``; for classes
        in rising order first with second, first with third, and so on. NaN for a class whose mean is the
        centre, and where there is NaN or infinity.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes.

    Example:
        >>> class_mean_cosines(np.eye(3), np.array([0, 1, 2])).round(12).tolist()
        [-0.5, -0.5, -0.5]

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    return returned(_cosines(_classes("class_mean_cosines", activation, labels)), activation)


@probe(unit="1", eats=("activation", "labels"), cost="dear", source=_SOURCE)
def class_mean_cosine_spread(activation: Array, labels: Array) -> Array:
    """NC2, equal angles: standard deviation of `class_mean_cosines`.

    It goes to 0 as all pairs of classes come to stand at the same angle [1], whatever angle that is;
    of two classes it is 0 always.

    Args:
        activation: Input of the classifier, shape ``(batch, ...)``.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``; NaN where a cosine is.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes.

    Example:
        >>> corners = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(class_mean_cosine_spread(corners, np.arange(4))) ** 2, 12)  # -1 twice, 0 four times
        0.222222222222

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    cosines = _cosines(_classes("class_mean_cosine_spread", activation, labels))
    return returned(namespace_of(cosines).std(cosines), activation)


@probe(unit="1", eats=("activation", "labels"), cost="dear", source=_SOURCE)
def class_mean_simplex_deviation(activation: Array, labels: Array) -> Array:
    """NC2, widest angles: mean distance of `class_mean_cosines` from ``-1 / (C - 1)``, those of a simplex.

    It goes to 0 in neural collapse [1]. There a low rank of the same layer (`activation_effective_rank`
    near C - 1) is the end of a training and no fault. Fewer features than ``C - 1`` have no room for it.

    Args:
        activation: Input of the classifier, shape ``(batch, ...)``.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example. C is the
            number of classes that are there.

    Returns:
        A number in [0, 2), 0-d, float64 in the library of ``activation``; NaN where a cosine is.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes.

    Example:
        >>> round(float(class_mean_simplex_deviation(np.eye(5), np.arange(5))), 12)
        0.0

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    classes = _classes("class_mean_simplex_deviation", activation, labels)
    cosines = _cosines(classes)
    deviation = namespace_of(cosines).mean(abs(cosines + 1 / (classes.counts.shape[0] - 1)))
    return returned(deviation, activation)


@probe(unit="1", eats=("activation", "labels", "weight"), cost="dear", source=_SOURCE)
def self_duality_deviation(activation: Array, labels: Array, weight: Array) -> Array:
    """NC3: squared distance between the class means and the classifier's rows, each taken over its norm.

    It goes to 0 as the weights of the classifier and the class means, seen from their centre, become the
    same up to scale [1]. A vector that is added to every row of the weight changes no decision, but moves
    this away from 0; with weight decay there is none.

    Args:
        activation: Input of the classifier, shape ``(batch, features)`` once its space is flattened.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example, which is
            also its row in ``weight``. Every class must be there.
        weight: The classifier's weight, shape ``(classes, features)``.

    Returns:
        A number in [0, 4], 0-d, float64 in the library of ``activation``; 2 reads "unrelated". NaN where
        all class means are the same or the weight is zero, and where there is NaN or infinity.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes,
            or are not the rows of ``weight``, or the features are not its columns.

    Example:
        >>> weight = np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])
        >>> round(float(self_duality_deviation(np.eye(3), np.array([0, 1, 2]), weight)), 12)
        0.0

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    classes = _classes("self_duality_deviation", activation, labels)
    rows = _fitting("self_duality_deviation", classes, weight)
    namespace = namespace_of(classes.offsets, rows)
    difference = _over_its_norm(rows) - _over_its_norm(classes.offsets)
    return returned(namespace.sum(difference**2), activation)


@probe(
    unit="fraction of examples",
    eats=("activation", "labels", "weight", "bias"),
    cost="dear",
    source=_SOURCE,
)
def nearest_centre_agreement(
    activation: Array, labels: Array, weight: Array, bias: Array | None = None
) -> Array:
    """NC4: fraction of examples that the classifier puts into the class whose mean is nearest.

    It goes to 1 in neural collapse [1]. Agreement is not accuracy: both may be wrong together. The means
    are those of this very batch, so that a handful of examples of each class agrees too easily.

    Args:
        activation: Input of the classifier, shape ``(batch, features)`` once its space is flattened.
        labels: Integers of shape ``(batch,)``, of the same library: the class of each example, which is
            also its row in ``weight``. Every class must be there.
        weight: The classifier's weight, shape ``(classes, features)``.
        bias: The classifier's bias, shape ``(classes,)``; None if it has none.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``; NaN where there is NaN or
        infinity.

    Raises:
        ValueError: If the labels do not fit the activation, are no integers, or name fewer than two classes,
            or are not the rows of ``weight``, or the features are not its columns.

    Example:
        >>> features = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> labels, weight = np.array([0, 0, 1, 1]), np.eye(2)
        >>> float(nearest_centre_agreement(features, labels, weight, bias=np.array([2.0, 0.0])))
        0.75

    References:
        [1] Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
            learning training", PNAS 2020, arXiv:2008.08186.
    """
    classes = _classes("nearest_centre_agreement", activation, labels)
    rows = _fitting("nearest_centre_agreement", classes, weight)
    namespace = namespace_of(classes.features, rows)
    with np.errstate(all="ignore"):
        scores = example_rows("nearest_centre_agreement", activation) @ rows.T
        if bias is not None:
            scores = scores + wide(readable(bias))
        # Nearness to a mean grows with the overlap less half the mean's square.
        overlaps = (classes.features - classes.centre) @ classes.offsets.T
        nearness = overlaps - namespace.sum(classes.offsets**2, axis=1) / 2
    agree = namespace.argmax(scores, axis=1) == namespace.argmax(nearness, axis=1)
    rate = fraction(namespace.count_nonzero(agree), agree.shape[0])
    return returned(only_if_finite(rate, scores, nearness), activation)


@dataclass(frozen=True)
class _Classes:
    """A labelled batch: where each example and each class mean lies.

    `features`, `means` and `centre` are seen from the first example, and `offsets` are the means seen from
    their centre. `index` tells the class of each example among `names`, which rise.
    """

    features: Array
    index: Array
    names: Array
    counts: Array
    means: Array
    centre: Array
    offsets: Array


def _classes(caller: str, activation: Array, labels: Array) -> _Classes:
    features, labels = example_rows(caller, activation), readable(labels)
    namespace = namespace_of(features, labels)
    if tuple(labels.shape) != features.shape[:1] or not namespace.isdtype(labels.dtype, "integral"):
        raise ValueError(
            f"{caller} needs one integer label an example, got {labels.dtype} of shape "
            f"{tuple(labels.shape)} for {features.shape[0]} examples; take the argmax of one-hot targets"
        )
    names, index = namespace.unique_inverse(labels)
    if names.shape[0] < 2:
        raise ValueError(
            f"{caller} needs examples of two classes at least, got {names.shape[0]}; "
            f"choose a probe batch in which every class is there"
        )
    each = namespace.arange(names.shape[0], device=device(features))
    belongs = namespace.astype(index[:, None] == each, features.dtype)
    counts = namespace.sum(belongs, axis=0)
    with np.errstate(all="ignore"):
        # A layer that says the same to all examples then has class means that differ by exactly 0.
        features = features - features[:1, :]
        means = belongs.T @ features / counts[:, None]
        centre = namespace.mean(means, axis=0)
        return _Classes(features, index, names, counts, means, centre, means - centre)


def _fitting(caller: str, classes: _Classes, weight: Array) -> Array:
    """The classifier's rows, which are to be those of the classes that are there."""
    count, width = classes.means.shape
    ends = int(classes.names[0]), int(classes.names[-1])
    if tuple(weight.shape) != (count, width) or ends != (0, count - 1):
        raise ValueError(
            f"{caller} needs a weight of shape (classes, features) and examples of every class, got shape "
            f"{tuple(weight.shape)} for {count} classes from {ends[0]} to {ends[1]} and {width} features; "
            f"choose a probe batch in which every class is there"
        )
    return wide(readable(weight))


def _between_classes(classes: _Classes) -> tuple[Array, Array, Array]:
    """What examples have beside the mean of their class, and inverse sizes and directions of the means' spread.

    Where the spread has no size its inverse is 0.
    """
    namespace = namespace_of(classes.features)
    with np.errstate(all="ignore"):
        residuals = _made_finite(classes.features - classes.means[classes.index, :])
    offsets, means = _made_finite(classes.offsets), _made_finite(classes.means)
    _, sizes, directions = namespace.linalg.svd(offsets, full_matrices=False)
    # Seen from their centre C means span C - 1 directions; what the last one shows is rounding.
    sizes, directions = sizes[: means.shape[0] - 1], directions[: means.shape[0] - 1, :]
    rounding = namespace.finfo(means.dtype).eps * max(classes.features.shape)
    is_there = sizes > rounding * namespace.linalg.vector_norm(means)
    return residuals, namespace.where(is_there, quotient(1.0, sizes), 0.0), directions


def _cosines(classes: _Classes) -> Array:
    namespace = namespace_of(classes.offsets)
    directions = quotient(classes.offsets, _lengths(classes.offsets)[:, None])
    cosines = directions @ directions.T
    return cosines[namespace.triu(namespace.ones_like(cosines), k=1) > 0]


def _lengths(vectors: Array) -> Array:
    return namespace_of(vectors).linalg.vector_norm(vectors, axis=1)


def _over_its_norm(matrix: Array) -> Array:
    return quotient(matrix, namespace_of(matrix).linalg.vector_norm(matrix))


def _made_finite(array: Array) -> Any:
    """Zeros if there is NaN or infinity in the array: LAPACK gives up on them, and the result is NaN anyway."""
    namespace = namespace_of(array)
    return namespace.where(namespace.isfinite(array).all(), array, namespace.zeros_like(array))
