"""Muon: momentum whose singular values are all brought to about one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.flat import Run
from scratchnet.optim.optimizer import Optimizer, check_at_least, check_fractions, shrink
from scratchnet.tape import Array

LR_ADJUSTMENTS = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    """Muon, for the matrices of hidden layers: w ← (1 − η λ) w − η s O, with O the momentum made orthogonal.

    m ← μ m + (1 − μ) g, and O = `orthogonalized` m (Nesterov: of (1 − μ) g + μ m): every direction of the
    matrix moves by about the same amount, also those that the gradient hardly shows. PyTorch does that part in
    bfloat16; here it is done in the parameter's own dtype.

    Args:
        params: Matrices; the first and last layer, and all that is no matrix, do better with another optimiser.
        lr: Learning rate η.
        weight_decay: λ, decoupled from the gradient.
        momentum: μ.
        nesterov: Whether to look ahead.
        ns_coefficients: a, b and c of the Newton-Schulz iteration.
        eps: What the norm of the matrix is divided by at least.
        ns_steps: Steps of the iteration.
        adjust_lr_fn: s for a matrix of A rows and B columns: √max(1, A / B) for ``"original"`` and None,
            0.2 √max(A, B) for ``"match_rms_adamw"``, with which η and λ found for AdamW serve.

    Raises:
        ValueError: If a parameter is no matrix, or a hyperparameter is out of range.

    References:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
        Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982.
    """

    is_elementwise = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("Muon", 0, group, "lr", "weight_decay", "eps", "ns_steps")
        check_fractions("Muon", group, "momentum")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"Muon needs three ns_coefficients, got {group['ns_coefficients']}")
        if group["adjust_lr_fn"] not in LR_ADJUSTMENTS:
            raise ValueError(f"Muon needs adjust_lr_fn in {LR_ADJUSTMENTS}, got {group['adjust_lr_fn']!r}")
        for parameter in group["params"]:
            if parameter.ndim != 2:
                raise ValueError(
                    f"Muon needs matrices, got a parameter of shape {parameter.shape}; "
                    f"put all that is no matrix into another optimiser, such as AdamW"
                )

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        momentum, keep = run.state("momentum_buffer"), group["momentum"]
        momentum *= keep
        momentum += (1 - keep) * run.gradients
        ahead = (1 - keep) * run.gradients + keep * momentum if group["nesterov"] else momentum
        move = orthogonalized(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
        shrink(group, run)
        run.weights -= group["lr"] * _size(run.weights.shape, group["adjust_lr_fn"]) * move


def orthogonalized(
    matrix: Array,
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    steps: int = 5,
    eps: float = 1e-7,
) -> Array:
    """The matrix with its singular values brought near one, by Newton-Schulz steps and without an SVD.

    A step takes each singular value x, at most one after a division by the norm, to a x + b x³ + c x⁵. With the usual
    coefficients five steps bring all but the smallest to between about 0.7 and 1.2: they climb steeply from zero
    and do not settle.

    Args:
        matrix: Shape ``(rows, columns)``.
        coefficients: a, b and c.
        steps: How many.
        eps: What the norm is taken to be at least.

    Returns:
        An array of the same shape and dtype.

    Example:
        >>> values = np.linalg.svd(orthogonalized(np.diag([5.0, 1.0, 0.2])), compute_uv=False)
        >>> bool(((values > 0.6) & (values < 1.3)).all())
        True
    """
    # The Gram matrix is smaller on the short side.
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / max(float(np.linalg.norm(x)), eps)
    a, b, c = coefficients
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if is_tall else x


def _size(shape: tuple[int, ...], adjustment: str | None) -> float:
    rows, columns = shape
    if adjustment == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
