"""How sharp a minimum an optimiser can hold."""

import math

from probes.arrays import Array, detached, namespace_of
from probes.curvature.product import Hvp


def stability_threshold(
    learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> float:
    """Largest eigenvalue of the loss's Hessian at which gradient descent on a quadratic is stable.

    Beyond it the step overshoots further every time, so sharpness that stays well above it comes with a
    loss that grows. Full-batch training hovers at it in health [1]; small batches stay below it, and
    Adam obeys `adam_stability_threshold`, of the preconditioned Hessian.

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


def adam_stability_threshold(learning_rate: float, beta1: float = 0.9) -> float:
    """Largest eigenvalue of the preconditioned Hessian at which Adam on a quadratic is stable.

    Once Adam's second moments have settled, it is gradient descent with an averaged gradient in coordinates
    stretched by its preconditioner, so its edge of stability is one of the stretched Hessian: measure
    ``top_eigenvalues(preconditioned_hvp(hvp, adam_preconditioner(...)), dim)`` and compare that [1]. The
    sharpness of the plain Hessian may rise without end below this threshold. Early in training, while the
    moments still move, a value above it says little. RMSprop without momentum has `stability_threshold`,
    likewise of the preconditioned Hessian.

    Args:
        learning_rate: η, at least 0.
        beta1: β₁ of the averaged gradient, ``0 <= beta1 < 1``.

    Returns:
        (2 + 2β₁)/((1 - β₁) η), which is 38/η for the usual 0.9; infinity for a learning rate of 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(adam_stability_threshold(0.001))
        38000

    References:
        [1] Cohen et al., "Adaptive Gradient Methods at the Edge of Stability", 2022, arXiv:2207.14484.
    """
    if not (learning_rate >= 0 and 0 <= beta1 < 1):
        raise ValueError(
            f"adam_stability_threshold needs learning_rate >= 0 and 0 <= beta1 < 1, got "
            f"learning_rate={learning_rate} and beta1={beta1}; read them off the optimiser"
        )
    if learning_rate == 0:
        return math.inf
    return (2 + 2 * beta1) / ((1 - beta1) * learning_rate)


def adam_preconditioner(
    second_moment: Array, step: int, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Array:
    """What Adam divides its averaged gradient by, weight by weight, both bias corrections included.

    It is the diagonal that `preconditioned_hvp` takes [1]. Where no gradient has come yet it is ``eps``
    alone, and the preconditioned Hessian is huge there: an eigenvalue that comes from such weights speaks
    of ``eps`` more than of the loss.

    Args:
        second_moment: Adam's running average of squared gradients (``exp_avg_sq`` in PyTorch), flat.
        step: Steps that Adam has taken, at least 1.
        beta1: β₁ of the averaged gradient.
        beta2: β₂ of the averaged squares.
        eps: What Adam adds to the root.

    Returns:
        ``(1 - β₁^step) (√(second_moment / (1 - β₂^step)) + eps)``, same shape, library and dtype.

    Raises:
        ValueError: If ``step`` is below 1, or a β is not within 0 and 1.

    Example:
        >>> adam_preconditioner(np.array([0.001, 0.004]), 1, eps=0.0).round(6).tolist()
        [0.1, 0.2]

    References:
        [1] Cohen et al., "Adaptive Gradient Methods at the Edge of Stability", 2022, arXiv:2207.14484.
    """
    if step < 1 or not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise ValueError(
            f"adam_preconditioner needs step >= 1, 0 <= beta1 < 1 and 0 <= beta2 < 1, got step={step}, "
            f"beta1={beta1} and beta2={beta2}; read them off the optimiser and its state"
        )
    moment = detached(second_moment) / (1 - beta2**step)
    return (1 - beta1**step) * (namespace_of(moment).sqrt(moment) + eps)


def preconditioned_hvp(hvp: Hvp, diagonal: Array) -> Hvp:
    """The product with ``P^-½ H P^-½`` for a diagonal P: the Hessian as a preconditioned optimiser sees it.

    It is symmetric and has the eigenvalues of ``P⁻¹ H``, which decide whether steps ``-η P⁻¹ g`` are stable
    [1]. Its eigenvectors are those in stretched coordinates: divide them by ``√P`` for directions among the
    weights.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        diagonal: Of P, shape ``(dim,)``, in the library that ``hvp`` computes in, each entry finite and
            above 0: for Adam that of `adam_preconditioner`.

    Returns:
        A product on flat vectors; each call is one call of ``hvp``.

    Raises:
        ValueError: If ``diagonal`` is not flat, or an entry is not finite and above 0; when called, if the
            vector has another shape.

    Example:
        >>> hvp = preconditioned_hvp(lambda v: np.array([8.0, 9.0]) * v, np.array([4.0, 1.0]))
        >>> hvp(np.array([1.0, 1.0])).tolist()
        [2.0, 9.0]

    References:
        [1] Cohen et al., "Adaptive Gradient Methods at the Edge of Stability", 2022, arXiv:2207.14484.
    """
    namespace, diagonal = namespace_of(diagonal), detached(diagonal)
    usable = namespace.isfinite(diagonal) & (diagonal > 0)
    if diagonal.ndim != 1 or not bool(namespace.all(usable)):
        raise ValueError(
            f"preconditioned_hvp needs a flat diagonal with every entry finite and above 0, got shape "
            f"{tuple(diagonal.shape)} with {int(namespace.sum(~usable))} entries that are not; flatten and "
            f"join the parts, and add the optimiser's eps"
        )
    shrink = 1 / namespace.sqrt(diagonal)

    def product(vector: Array) -> Array:
        if tuple(vector.shape) != tuple(shrink.shape):
            raise ValueError(
                f"preconditioned_hvp needs vectors of shape {tuple(shrink.shape)}, as its diagonal, got "
                f"{tuple(vector.shape)}; give the measure the length of the diagonal as its dim"
            )
        return shrink * hvp(shrink * vector)

    return product
