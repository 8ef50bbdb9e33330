"""How large weights are, and how far a step moves them."""

import math

from probes.arrays import Array, detached, namespace_of, norm, norms, quotient
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
    misleads where the weight starts near zero, as biases do, and where the step is rescaled on purpose
    (warm-up, sign updates, weights ahead of a normalisation layer).

    Args:
        weight: The parameter before the update, any shape.
        update: What the step added to it, same shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``weight``; 0 for a frozen parameter, NaN
        where the weight is zero.

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
        Their ratio, same shape, NaN where the weight's norm is zero.

    Example:
        >>> ratio_of_norms(np.array([0.5, 0.5]), np.array([2.0, 0.0])).tolist()
        [0.25, nan]
    """
    namespace = namespace_of(update_norm, weight_norm)
    weight_norm = detached(weight_norm)
    nothing = namespace.full_like(weight_norm, math.nan)
    return quotient(detached(update_norm), namespace.where(weight_norm == 0, nothing, weight_norm))
