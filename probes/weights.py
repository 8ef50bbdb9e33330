"""How large weights are, how far a step moves them, and how far they have come."""

import math

import numpy as np

from probes.arrays import (
    Array,
    detached,
    namespace_of,
    norm,
    norms,
    quotient,
    readable,
    returned,
    widest_float,
)
from probes.catalogue import probe


@probe(
    unit="weight",
    eats="weight",
    cost="cheap",
    source="Krogh and Hertz, A simple weight decay can improve generalization, 1992",
)
def weight_norm(weight: Array) -> Array:
    """Euclidean norm of a parameter.

    Growth without end tells an unstable run, or one without weight decay [1]. The weights ahead of a
    normalisation layer grow without harm, since their scale changes nothing.

    Args:
        weight: A parameter, any shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``weight``; 0 for an empty one.

    Example:
        >>> float(weight_norm(np.array([[3.0, 0.0], [0.0, 4.0]])))
        5.0

    References:
        [1] Krogh and Hertz, "A simple weight decay can improve generalization", 1992.
    """
    return norm(weight)


@probe(
    unit="weight",
    eats="update",
    cost="cheap",
    source="Schneider et al., Cockpit, 2021, arXiv:2102.06604",
)
def update_norm(update: Array) -> Array:
    """Euclidean norm of what one optimiser step added to a parameter.

    It is the step as taken, with momentum, clipping and adaptive scaling in it [1], which the learning
    rate times the gradient is not. Beside the weight's norm it reads better: see `update_ratio`.

    Args:
        update: The parameter after the step minus the parameter before it, any shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``update``; 0 where the parameter did not move.

    Example:
        >>> float(update_norm(np.array([-0.3, 0.4])))
        0.5

    References:
        [1] Schneider et al., "Cockpit: A Practical Debugging Tool for the Training of Deep Neural
            Networks", 2021, arXiv:2102.06604.
    """
    return norm(update)


@probe(
    unit="1",
    eats=("weight", "update"),
    cost="cheap",
    source="Karpathy, CS231n: Neural Networks Part 3, Ratio of weights:updates",
)
def update_ratio(weight: Array, update: Array) -> Array:
    """Norm of an update over the norm of the weight that it moves.

    About 1e-3 is the rule of thumb for a learning rate that is neither too low nor too high [1]. It
    misleads where the weight starts near zero, as biases do: undefined at the first step, it is near 1 at
    the second in perfect health, so keep biases apart from matrices. It also misleads where the step is
    rescaled on purpose (warm-up, sign updates, weights ahead of a normalisation layer).

    Args:
        weight: The parameter before the update, any shape.
        update: What the step added to it, same shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``weight``; 0 for a frozen parameter. NaN where
        the weight is zero or either holds NaN or infinity: it is never infinite.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> float(update_ratio(np.array([3.0, 4.0]), np.array([0.003, 0.004])))
        0.001

    References:
        [1] Karpathy, "CS231n: Neural Networks Part 3", section "Ratio of weights:updates".
    """
    if tuple(weight.shape) != tuple(update.shape):
        raise ValueError(
            f"update_ratio needs a weight and its own update, got shapes {tuple(weight.shape)} and "
            f"{tuple(update.shape)}; pass the parameter before the step and its change"
        )
    update_size, weight_size = norms([update, weight])
    return ratio_of_norms(update_size, weight_size)


def ratio_of_norms(update_norm: Array, weight_norm: Array) -> Array:
    """`update_ratio` from norms that are measured already, of one parameter or of many at once.

    Args:
        update_norm: Norms of the updates, 0-d or ``(parameters,)``.
        weight_norm: Norms of the weights before them, same shape.

    Returns:
        Their ratio, same shape, NaN where it is no finite number, as over a weight that is zero.

    Example:
        >>> ratio_of_norms(np.array([0.5, 0.5]), np.array([2.0, 0.0])).tolist()
        [0.25, nan]
    """
    return _finite(quotient(detached(update_norm), detached(weight_norm)))


@probe(
    unit="weight",
    eats=("weight", "weight"),
    cost="cheap",
    source="Nagarajan and Kolter, Generalization in Deep Networks: The Role of Distance from Initialization, 2019",
)
def distance_from_start(weight: Array, start: Array) -> Array:
    """Euclidean distance of a parameter from where it started.

    It grows like the root of time where steps are mere noise, and in proportion where they agree; one
    that stays at 0 belongs to a parameter that is not trained. At equal loss, a shorter way goes with
    better generalisation [1]. A long way in a direction that the loss does not feel (the scale of a weight
    ahead of a normalisation layer) counts like any other.

    Args:
        weight: The parameter now, any shape.
        start: The same parameter at the start, same shape: a copy, for the optimiser changes it in place.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``weight``; NaN or infinite where an entry is.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> float(distance_from_start(np.array([4.0, 4.0]), np.array([1.0, 0.0])))
        5.0

    References:
        [1] Nagarajan and Kolter, "Generalization in Deep Networks: The Role of Distance from
            Initialization", 2019, arXiv:1901.01672.
    """
    if tuple(weight.shape) != tuple(start.shape):
        raise ValueError(
            f"distance_from_start needs a weight and its own start, got shapes {tuple(weight.shape)} and "
            f"{tuple(start.shape)}; keep a copy of each parameter before the first step"
        )
    with np.errstate(all="ignore"):
        way = _subtractable(readable(weight)) - _subtractable(readable(start))
    return returned(norm(way), weight)


@probe(
    unit="learning rate per squared weight",
    eats=("weight", "learning_rate"),
    cost="cheap",
    source="van Laarhoven, L2 Regularization versus Batch and Weight Normalization, 2017, arXiv:1706.05350",
)
def effective_learning_rate(weight: Array, learning_rate: float) -> Array:
    """Learning rate over the squared norm of a weight whose scale does not matter.

    Ahead of a normalisation layer a weight acts by its direction alone, and gradient descent turns that
    direction as fast as this number says [1]: growth of the weight is a decay of the learning rate in
    disguise, and weight decay holds it up. For weights with a scale of their own it means nothing, and
    under Adam, whose step does not shrink with the gradient, the direction turns by the learning rate over
    the norm and not over its square.

    Args:
        weight: All that one normalisation sees at once, any shape: a layer's weight, or one row of it.
        learning_rate: The optimiser's, as it is at this step.

    Returns:
        A number, 0-d, float64 in the library of ``weight``; NaN where the weight is zero, never infinite.

    Raises:
        ValueError: If the learning rate is negative or not finite.

    Example:
        >>> float(effective_learning_rate(np.array([3.0, 4.0]), learning_rate=0.5))
        0.02

    References:
        [1] van Laarhoven, "L2 Regularization versus Batch and Weight Normalization", 2017, arXiv:1706.05350.
    """
    if not 0 <= learning_rate < math.inf:
        raise ValueError(
            f"effective_learning_rate needs a finite learning rate of at least 0, got {learning_rate}; "
            f"pass the size of the step, without its sign"
        )
    size = norm(weight)
    return _finite(quotient(quotient(learning_rate, size), size))


def _finite(ratio: Array) -> Array:
    namespace = namespace_of(ratio)
    return namespace.where(namespace.isfinite(ratio), ratio, namespace.full_like(ratio, math.nan))


def _subtractable(array: Array) -> Array:
    """The array in a type whose differences neither wrap around nor lose half of their digits."""
    namespace = namespace_of(array)
    if array.dtype in (namespace.float32, namespace.float64):
        return array
    return namespace.astype(array, widest_float(array))
