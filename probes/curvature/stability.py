"""How sharp a minimum an optimiser can hold."""

import math


def stability_threshold(
    learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> float:
    """Largest eigenvalue of the loss's Hessian at which gradient descent on a quadratic is stable.

    Beyond it the step overshoots further every time, so sharpness that stays well above it comes with a
    loss that grows. Full-batch training hovers at it in health [1]; small batches stay below it, and
    adaptive optimisers obey another threshold, of the preconditioned Hessian.

    Args:
        learning_rate: η, at least 0.
        momentum: β of heavy-ball momentum without dampening, ``0 <= momentum < 1``.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Coefficient that the optimiser adds to the gradient, as SGD does; it uses up that much
            of the threshold.

    Returns:
        2/η, (2 + 2β)/η with momentum or (2 + 2β)/(η (1 + 2β)) with Nesterov's, less the weight decay;
        infinity for a learning rate of 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> stability_threshold(0.01), stability_threshold(0.5, momentum=0.75)
        (200.0, 7.0)

    References:
        [1] Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
            2021, arXiv:2103.00065.
    """
    if not (learning_rate >= 0 and 0 <= momentum < 1 and weight_decay >= 0):
        raise ValueError(
            f"stability_threshold needs learning_rate >= 0, 0 <= momentum < 1 and weight_decay >= 0, got "
            f"learning_rate={learning_rate}, momentum={momentum} and weight_decay={weight_decay}; "
            f"read them off the optimiser"
        )
    if learning_rate == 0:
        return math.inf
    damping = 1 + 2 * momentum if nesterov else 1.0
    return (2 + 2 * momentum) / (learning_rate * damping) - weight_decay
