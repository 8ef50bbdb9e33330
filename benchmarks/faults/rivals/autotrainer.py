"""AUTOTRAINER's rules, from its paper and its published thresholds.

All five symptoms are covered. Its gate is, too: symptoms other than a lost loss are told only where the
accuracy is below Θ = 0.6 or does not move. Accuracy is that of validation, sixteen times a run, for that is
what these runs log; a regression logs none, and there the gate stays open.
"""

import numpy as np

import diag
from benchmarks.faults.rivals.reading import (
    Numbers,
    Rules,
    has_lost_numbers,
    logged,
    loss,
    of_layers,
    of_parameters,
)

LEAST_ACCURACY = 0.6


def _is_impaired(log: diag.Log) -> bool:
    accuracy = logged(log, "val_accuracy")
    return not len(accuracy) or accuracy[-1] < LEAST_ACCURACY or _stands(accuracy)


def _stands(accuracy: Numbers) -> bool:
    """Whether the accuracy gains less than 0.01 all through."""
    return len(accuracy) > 1 and float(np.max(np.diff(accuracy))) < 0.01


def _trained(log: diag.Log) -> Numbers:
    norms = of_layers(log, "gradient_norm")
    return norms[:, np.isfinite(norms).any(axis=0)] if norms.size else norms


def gradient_vanish(log: diag.Log) -> bool:
    """First over last layer below 1e-3, and the first below 1e-4."""
    norms = _trained(log)
    if not norms.size or norms.shape[1] < 2 or not _is_impaired(log):
        return False
    return bool(np.any((norms[:, 0] / norms[:, -1] < 1e-3) & (norms[:, 0] < 1e-4)))


def gradient_explode(log: diag.Log) -> bool:
    """First over last layer above 70, or numbers lost."""
    if has_lost_numbers(log) or np.any(loss(log) >= 1e3):
        return True
    norms = _trained(log)
    if not norms.size or norms.shape[1] < 2 or not _is_impaired(log):
        return False
    return bool(np.any(norms[:, 0] / norms[:, -1] > 70))


def dying_relu(log: diag.Log) -> bool:
    """At least 70 % of a weight's gradient exactly zero."""
    zeros = of_parameters(log, "rival_gradient_zeros", matrices=True)
    return _is_impaired(log) and bool(np.any(zeros >= 0.7))


def oscillating_loss(log: diag.Log) -> bool:
    """Accuracy that goes up and down by 0.03 in a fifth of its evaluations."""
    accuracy = logged(log, "val_accuracy")
    if len(accuracy) < 3 or not _is_impaired(log):
        return False
    steps = np.diff(accuracy)
    turns = (steps[:-1] * steps[1:] < 0) & (np.abs(steps[:-1]) >= 0.03) & (np.abs(steps[1:]) >= 0.03)
    return bool(np.count_nonzero(turns) >= 0.2 * len(accuracy))


def slow_convergence(log: diag.Log) -> bool:
    """Accuracy that gains less than 0.01 from one evaluation to the next, and stays below Θ."""
    accuracy = logged(log, "val_accuracy")
    return len(accuracy) > 0 and accuracy[-1] < LEAST_ACCURACY and _stands(accuracy)


RULES: Rules = {
    "gradient vanish": gradient_vanish,
    "gradient explode": gradient_explode,
    "dying ReLU": dying_relu,
    "oscillating loss": oscillating_loss,
    "slow convergence": slow_convergence,
}
