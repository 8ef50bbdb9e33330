"""The loss along a line and over a plane through the weights."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import ArrayLike, NDArray

from probes.arrays import Array, detached, namespace_of, widest_float
from probes.catalogue import probe

Loss: TypeAlias = Callable[[list[Array]], Array | float]


@probe(
    unit="loss",
    eats=("loss", "weights", "direction", "distances"),
    cost="dear",
    source="Goodfellow, Vinyals and Saxe, Qualitatively characterizing neural network optimization problems, 2015",
)
def loss_along_line(loss: Loss, weights: Sequence[Array], direction: Sequence[Array], at: ArrayLike) -> Array:
    """Loss at some distances along a line through the weights.

    Towards another set of weights it shows whether a barrier lies between [1]; along the update, how far
    the step could have gone; along an eigenvector, how far the parabola that the eigenvalue stands for
    holds. Distances count in lengths of the direction, so that without `filter_normalized` a network whose
    weights are large looks flat. A line is one of very many directions: that it has no barrier does not
    say that there is none.

    Args:
        loss: Takes a list of arrays like ``weights`` and returns the loss there, a number. It must give the
            same for the same weights: one fixed batch, no dropout.
        weights: The weights at distance 0, arrays of one library. They are never changed: each loss sees
            arrays of its own.
        direction: What distance 1 adds to each weight, same shapes; `filter_normalized` makes random
            directions comparable.
        at: The distances, 1-D, finite.

    Returns:
        The losses, 1-D in the order of ``at``, float64 in the library of the weights. A loss that is NaN or
        infinite stays so.

    Raises:
        ValueError: If there are no weights or distances, shapes differ, weights are not of a floating type, a
            distance is not finite, or the loss is not one number.

    Example:
        >>> def loss(weights):
        ...     return (weights[0] ** 2).sum()
        >>> loss_along_line(loss, [np.array([3.0, 4.0])], [np.array([3.0, 4.0])], [-1.0, 0.0, 1.0]).tolist()
        [0.0, 25.0, 100.0]

    References:
        [1] Goodfellow, Vinyals and Saxe, "Qualitatively characterizing neural network optimization
            problems", 2015, arXiv:1412.6544.
    """
    _check_weights("loss_along_line", weights, direction)
    distances = _distances("loss_along_line", at)
    losses = [
        _number("loss_along_line", loss(_moved(weights, direction, distance)))
        for distance in distances.tolist()
    ]
    return _like_weights(np.array(losses), weights)


@probe(
    unit="loss",
    eats=("loss", "weights", "direction", "distances"),
    cost="dear",
    source="Li et al., Visualizing the Loss Landscape of Neural Nets, 2018",
)
def loss_over_plane(
    loss: Loss,
    weights: Sequence[Array],
    directions: tuple[Sequence[Array], Sequence[Array]],
    at: tuple[ArrayLike, ArrayLike],
) -> Array:
    """Loss on a grid over the plane through the weights that two directions span.

    The picture of a minimum and of what surrounds it [1]. Two random directions out of millions show the
    average curvature and rarely the sharpest; two eigenvectors show that one. Only directions that are
    scaled alike, as by `filter_normalized`, can be compared between networks. A grid of 25 by 25 costs 625
    losses.

    Args:
        loss: Takes a list of arrays like ``weights`` and returns the loss there, a number; as for
            `loss_along_line`.
        weights: The weights at the origin, arrays of one library. They are never changed.
        directions: What distance 1 along the first and along the second axis adds to each weight.
        at: The distances along the first and along the second axis, 1-D each, finite.

    Returns:
        The losses, ``(along the first, along the second)``, float64 in the library of the weights. A loss
        that is NaN or infinite stays so.

    Raises:
        ValueError: If there are no weights or distances, shapes differ, weights are not of a floating type, a
            distance is not finite, or the loss is not one number.

    Example:
        >>> def loss(weights):
        ...     return weights[0][0] ** 2 + 10 * weights[0][1] ** 2
        >>> axes = [np.array([1.0, 0.0])], [np.array([0.0, 1.0])]
        >>> loss_over_plane(loss, [np.zeros(2)], axes, ([0.0, 1.0], [0.0, 1.0, 2.0])).tolist()
        [[0.0, 10.0, 40.0], [1.0, 11.0, 41.0]]

    References:
        [1] Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018, arXiv:1712.09913.
    """
    first, second = directions
    for direction in directions:
        _check_weights("loss_over_plane", weights, direction)
    rows, columns = (_distances("loss_over_plane", distances).tolist() for distances in at)
    losses = [
        [_number("loss_over_plane", loss(_moved(start, second, column))) for column in columns]
        for start in (_moved(weights, first, row) for row in rows)
    ]
    return _like_weights(np.array(losses), weights)


def filter_normalized(direction: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    """A direction with each filter at the length of the same filter of the weights.

    A rectified or normalised network computes the same when one layer is scaled up and the next down, so
    that the loss along a plain random direction looks flat where weights are large. At equal lengths per
    filter, distance 1 is a change as large as the weights themselves, and pictures of two networks can be
    compared [1]. A filter is what leads to one output: a row of a linear layer, a channel of a
    convolution, index 0 of the array. Arrays of one axis (biases, gains of normalisation layers) and of
    none do not move: their entries in the direction become 0, as in [1].

    Args:
        direction: Arrays of one library, such as random normal ones.
        weights: Arrays of the same shapes.

    Returns:
        New arrays like the weights; a filter that is zero in either of the two is zero.

    Raises:
        ValueError: If there are no arrays, shapes differ, or weights are not of a floating type.

    Example:
        >>> weights = [np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([7.0, 7.0])]
        >>> direction = [np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, -1.0])]
        >>> [part.tolist() for part in filter_normalized(direction, weights)]
        [[[5.0, 0.0], [1.0, 0.0]], [0.0, 0.0]]

    References:
        [1] Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018, arXiv:1712.09913.
    """
    _check_weights("filter_normalized", weights, direction)
    return [_filter_normalized(*pair) for pair in zip(direction, weights, strict=True)]


def _filter_normalized(direction: Array, weight: Array) -> Array:
    namespace, weight = namespace_of(direction, weight), detached(weight)
    if weight.ndim < 2:
        return namespace.zeros_like(weight)
    direction = namespace.astype(detached(direction), widest_float(weight), copy=False)
    lengths = _filter_lengths(direction)
    # A filter of length 0 is 0 already; 1 in its place leaves it so.
    scale = _filter_lengths(weight) / namespace.where(lengths == 0, namespace.ones_like(lengths), lengths)
    scale = namespace.reshape(scale, (-1,) + (1,) * (weight.ndim - 1))
    return namespace.astype(direction * scale, weight.dtype, copy=False)


def _filter_lengths(array: Array) -> Array:
    """Norm of each filter, in the widest float: squares of narrower ones would leave their range."""
    namespace = namespace_of(array)
    wide = namespace.astype(array, widest_float(array), copy=False)
    return namespace.linalg.vector_norm(wide, axis=tuple(range(1, array.ndim)))


def _moved(weights: Sequence[Array], direction: Sequence[Array], distance: float) -> list[Array]:
    return [_step(detached(w), detached(d), distance) for w, d in zip(weights, direction, strict=True)]


def _step(weight: Array, direction: Array, distance: float) -> Array:
    with np.errstate(all="ignore"):
        return namespace_of(weight, direction).astype(weight + distance * direction, weight.dtype, copy=False)


def _number(caller: str, loss: Array | float) -> float:
    shape = tuple(getattr(loss, "shape", ()))
    if shape:
        raise ValueError(
            f"{caller} needs a loss that is one number, got an array of shape {shape}; "
            f"take its mean over the batch"
        )
    return float(detached(loss))


def _distances(caller: str, at: ArrayLike) -> NDArray[np.float64]:
    distances = np.asarray(at, dtype=np.float64)
    if distances.ndim == 1 and distances.size > 0 and np.isfinite(distances).all():
        return distances
    raise ValueError(
        f"{caller} needs finite distances in one dimension, at least one, got {distances}; "
        f"numpy.linspace(-1, 1, 25) is a start"
    )


def _like_weights(losses: NDArray[np.float64], weights: Sequence[Array]) -> Array:
    first = weights[0]
    return namespace_of(first).asarray(losses, dtype=widest_float(first), device=device(first))


def _check_weights(caller: str, weights: Sequence[Array], direction: Sequence[Array]) -> None:
    ours, theirs = ([tuple(array.shape) for array in arrays] for arrays in (weights, direction))
    if not ours or ours != theirs:
        raise ValueError(
            f"{caller} needs one array of the direction for each weight, in its shape, and at least one, got "
            f"weights of shapes {ours} and a direction of shapes {theirs}; take the direction from the same "
            f"list of parameters"
        )
    for weight in weights:
        if not namespace_of(weight).isdtype(weight.dtype, "real floating"):
            raise ValueError(
                f"{caller} needs weights of a floating type, got {weight.dtype}; cast them, for integers "
                f"cannot move along a line"
            )
