"""Shampoo: a preconditioner for every axis of a parameter."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.flat import Run
from scratchnet.optim.optimizer import Optimizer, check_at_least, check_fractions, slope
from scratchnet.tape import Array


class Shampoo(Optimizer):
    """Shampoo: each axis of the gradient is multiplied by the inverse root of its second moments.

    For a matrix W ← W − η L^(−1/4) G R^(−1/4), with L = ε I + Σ G Gᵀ and R = ε I + Σ Gᵀ G over all steps so
    far. With k axes the sum of axis i is Σ Gᵢ Gᵢᵀ, where Gᵢ has that axis for its rows and all others for its
    columns, and the exponent is −1 / 2k. A vector keeps the diagonal alone, which is Adagrad, and
    so does an axis longer than ``max_axis``. Sums and roots are in float64.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        momentum: μ: the running mean m ← μ m + (1 − μ) G takes the place of G in the step, not in the sums.
        weight_decay: λ, added to the gradient as λ w.
        eps: ε, with which the sums begin.
        update_interval: Roots of matrices, an eigendecomposition each, are computed anew every so many steps.
        max_axis: Longest axis that gets a full matrix.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Gupta, Koren and Singer, "Shampoo: Preconditioned Stochastic Tensor Optimization", 2018, arXiv:1802.09568.
    """

    is_elementwise = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-4,
        update_interval: int = 1,
        max_axis: int = 1200,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eps": eps,
            "update_interval": update_interval,
            "max_axis": max_axis,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("Shampoo", 0, group, "lr", "weight_decay", "max_axis")
        check_at_least("Shampoo", 1, group, "update_interval")
        check_fractions("Shampoo", group, "momentum")
        if not group["eps"] > 0:
            raise ValueError(f"Shampoo needs eps > 0, or a root may not exist, got eps={group['eps']}")

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = slope(group, run)
        move = gradient
        if group["momentum"]:
            move = run.state("momentum_buffer")
            move *= group["momentum"]
            move += (1 - group["momentum"]) * gradient
        # A number has no axis: it is a vector of one.
        wide, move = np.atleast_1d(gradient).astype(np.float64), np.atleast_1d(move)
        for axis in range(wide.ndim):
            move = _along(axis, _root(group, run, wide, axis), move)
        run.weights -= group["lr"] * move.reshape(run.weights.shape)


def _root(group: Mapping[str, Any], run: Run, gradient: Array, axis: int) -> Array:
    """The inverse root for one axis: a matrix, or the vector of its diagonal."""
    name = f"preconditioner_{axis}"
    length = gradient.shape[axis]
    unfolded = np.moveaxis(gradient, axis, 0).reshape(length, -1)
    if gradient.ndim == 1 or length > group["max_axis"]:
        sums = run.memory.setdefault(name, np.full(length, group["eps"]))
        sums += np.square(unfolded).sum(axis=1)
        return inverse_root(sums, 2 * gradient.ndim, group["eps"])
    sums = run.memory.setdefault(name, group["eps"] * np.eye(length))
    sums += unfolded @ unfolded.T
    if (run.step - 1) % group["update_interval"] == 0:
        run.memory[f"inverse_root_{axis}"] = inverse_root(sums, 2 * gradient.ndim, group["eps"])
    return run.memory[f"inverse_root_{axis}"]


def inverse_root(moments: Array, order: int, least: float) -> Array:
    """The −1/order-th power of a symmetric positive matrix, or of a vector that is its diagonal.

    Args:
        moments: Shape ``(n, n)``, or ``(n,)``.
        order: Which root.
        least: Eigenvalues are at least that; what rounding leaves below is raised to it.

    Returns:
        An array of the same shape.

    Example:
        >>> inverse_root(np.array([[16.0, 0.0], [0.0, 81.0]]), 4, 1e-12).round(6)
        array([[0.5     , 0.      ],
               [0.      , 0.333333]])
    """
    if moments.ndim == 1:
        return np.maximum(moments, least) ** (-1 / order)
    values, vectors = np.linalg.eigh(moments)
    return (vectors * np.maximum(values, least) ** (-1 / order)) @ vectors.T


def _along(axis: int, root: Array, array: Array) -> Array:
    """The array with one axis multiplied by a matrix, or by a diagonal."""
    front = np.moveaxis(array, axis, -1)
    return np.moveaxis(front * root if root.ndim == 1 else front @ root, -1, axis)
