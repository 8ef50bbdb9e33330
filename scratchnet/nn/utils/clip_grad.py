"""Clipping of gradients, by their common norm or each element by itself.

References:
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013,
    arXiv:1211.5063.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np

from scratchnet.nn.module import Parameter
from scratchnet.tape import Array
from scratchnet.tensor import Tensor


def get_total_norm(
    tensors: Tensor | Array | Iterable[Tensor | Array],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> np.float64:
    """Norm of several tensors as if they were one vector, (Σ |x|ᵖ)^(1/p).

    It neither overflows nor vanishes on the way: float32 elements of 1e30 have a norm.

    Args:
        tensors: Tensors or arrays, or a single one.
        norm_type: p > 0, ``math.inf`` for the largest magnitude.
        error_if_nonfinite: Whether an infinite norm, or none, is an error.

    Returns:
        The norm in float64, whatever the dtype of the tensors; 0 if there are none.

    Raises:
        ValueError: If p is not positive.
        RuntimeError: If the norm is not finite and this was to be an error.

    Example:
        >>> float(get_total_norm([np.array([3.0]), np.array([[0.0, 4.0]])]))
        5.0
    """
    order = float(norm_type)
    if not order > 0:
        raise ValueError(f"get_total_norm needs norm_type > 0 (math.inf is allowed), got {norm_type}")
    given = [tensors] if isinstance(tensors, Tensor | np.ndarray) else tensors
    arrays = [value.array if isinstance(value, Tensor) else np.asarray(value) for value in given]
    norm = _power_norm(np.array([_norm(array, order) for array in arrays], np.float64), order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"get_total_norm needs finite tensors, got a norm of order {order:g} that is {norm}; "
            f"find the first layer whose gradient is not finite, or pass error_if_nonfinite=False"
        )
    return np.float64(norm)


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: float) -> None:
    """Scales gradients by min(1, max_norm / (total_norm + 10⁻⁶)), where their norm is known already.

    Args:
        parameters: Whose gradients to scale; those that have none are left alone.
        max_norm: Largest norm.
        total_norm: What `get_total_norm` gave for the gradients.

    Raises:
        ValueError: If ``max_norm`` is negative or NaN.
    """
    if not max_norm >= 0:
        raise ValueError(f"clipping needs max_norm >= 0, got max_norm={max_norm}")
    chosen = _announced(parameters)
    share = float(max_norm) / (float(total_norm) + 1e-6)
    if share >= 1:
        return
    # An infinite norm leaves zeros, and NaN where the infinity stood, as in PyTorch.
    with np.errstate(invalid="ignore"):
        _change(chosen, lambda gradient, out: np.multiply(gradient, share, out=out))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> np.float64:
    """Scales all gradients by one number so that their common norm is at most ``max_norm``.

    The direction stays, which is what one wants against a rare huge gradient. Where nearly every step is
    clipped, the learning rate is too large, or the gradients explode for a reason.

    Args:
        parameters: Whose gradients to scale; those that have none are left alone.
        max_norm: Largest norm.
        norm_type: p > 0, ``math.inf`` for the largest magnitude.
        error_if_nonfinite: Whether a norm that is not finite is an error; nothing is scaled then.

    Returns:
        The norm before, in float64.

    Raises:
        ValueError: If p is not positive, or ``max_norm`` is negative.
        RuntimeError: If the norm is not finite and this was to be an error.

    Example:
        >>> weight = Tensor([3.0, 4.0], requires_grad=True)
        >>> (weight * weight).sum().backward()
        >>> float(clip_grad_norm_(weight, max_norm=1.0))
        10.0
        >>> weight.grad.numpy().round(4)
        array([0.6, 0.8], dtype=float32)
    """
    chosen = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [parameter.grad for parameter in chosen if parameter.grad is not None]
    norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(chosen, max_norm, norm)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Moves every element of every gradient into [−clip_value, clip_value]; this changes the direction.

    Args:
        parameters: Whose gradients to clip; those that have none are left alone.
        clip_value: Largest magnitude.

    Raises:
        ValueError: If ``clip_value`` is negative or NaN.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_ needs clip_value >= 0, got clip_value={clip_value}")
    bound = float(clip_value)
    _change(_announced(parameters), lambda gradient, out: np.clip(gradient, -bound, bound, out=out))


def _announced(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    chosen = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for parameter in chosen:
        if isinstance(parameter, Parameter):
            parameter.tell_of_clipping()
    return chosen


def _change(parameters: Iterable[Tensor], change: Callable[[Array, Array | None], Array]) -> None:
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.array is parameter.grad_buffer:
            change(gradient.array, gradient.array)
        else:
            # Not the parameter's own array: a recorded pass may have handed it to several of them.
            parameter.grad = Tensor(change(gradient.array, None))


def _norm(array: Array, order: float) -> float:
    if order != 2 or array.dtype.kind != "f":
        return _power_norm(array, order)
    flat = array.ravel()
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = float(np.dot(flat, flat))
    information = np.finfo(array.dtype)
    # One pass does where no square that matters has left the range of the dtype.
    if array.size * information.tiny / information.eps < square < math.inf:
        return math.sqrt(square)
    return _power_norm(array, order)


def _power_norm(array: Array, order: float) -> float:
    """Norm relative to the largest magnitude, so that no power overflows."""
    if not array.size:
        return 0.0
    magnitudes = np.abs(array, dtype=np.float64)
    largest = float(magnitudes.max())
    if math.isinf(order) or largest == 0 or not math.isfinite(largest):
        return largest
    magnitudes /= largest
    with np.errstate(under="ignore"):
        return largest * float(np.sum(magnitudes**order)) ** (1 / order)
