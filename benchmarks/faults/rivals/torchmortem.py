"""torchmortem's detectors, from its published definitions; warnings and above count.

Covered: dead and saturated activations, vanishing and exploding gradients, stalled gradients, gradient noise,
update ratios, weights that explode, stand still or differ, the plateau and the catapult of the loss. Not covered:
effective rank, which needs what this log does not hold, and the edge of stability, which never runs in its
documented usage.
"""

import numpy as np

import diag
from benchmarks.faults.rivals.reading import Numbers, Rules, has_lost_numbers, loss, of_layers, of_parameters


def _second_half(values: Numbers) -> Numbers:
    return values[len(values) // 2 :]


def dead_activations(log: diag.Log) -> bool:
    """More than half of a layer's entries zero, in half of the later steps."""
    late = _second_half(of_layers(log, "rival_zero_share"))
    return bool(late.size and np.any(np.mean(late > 0.5, axis=0) >= 0.5))


def saturated_activations(log: diag.Log) -> bool:
    """More than half of a layer's entries beyond 0.95, in half of the later steps."""
    late = _second_half(of_layers(log, "rival_beyond_share"))
    return bool(late.size and np.any(np.mean(late > 0.5, axis=0) >= 0.5))


def vanishing_gradients(log: diag.Log) -> bool:
    """The last layer's output gradient a hundred times the first's on average."""
    norms = _output_gradients(log)
    if not norms.size or norms.shape[1] < 2:
        return False
    return bool(np.nanmean(norms[:, -1] / norms[:, 0]) >= 100)


def exploding_gradients(log: diag.Log) -> bool:
    """A norm above a thousand."""
    return bool(np.any(_output_gradients(log) > 1000)) or has_lost_numbers(log)


def stalled_gradients(log: diag.Log) -> bool:
    """A norm below 1e-8 in three of ten steps."""
    norms = _output_gradients(log)
    return bool(norms.size and np.any(np.mean(norms < 1e-8, axis=0) >= 0.3))


def gradient_noise(log: diag.Log) -> bool:
    """Norms whose mean over the run is less than their standard deviation."""
    norms = _output_gradients(log)
    if len(norms) < 20:
        return False
    return bool(np.any(norms.mean(axis=0) < norms.std(axis=0)))


def update_ratio(log: diag.Log) -> bool:
    """A median below 1e-5 or above 0.1."""
    ratio = of_parameters(log, "update_ratio")
    if not ratio.size:
        return False
    known = ratio[:, np.isfinite(ratio).any(axis=0)]
    typical = np.nanmedian(known, axis=0)
    return bool(np.any(typical < 1e-5) or np.any(typical > 0.1))


def weight_norms(log: diag.Log) -> bool:
    """Weights ten times their first, unchanged by 1e-4 of it, or a hundred times apart."""
    norms = of_parameters(log, "weight_norm", matrices=True)
    if not norms.size:
        return False
    growth = norms[-1] / norms[0]
    stands = np.abs(growth - 1) < 1e-4
    return bool(np.any(growth > 10) or np.any(stands) or norms[-1].max() > 100 * norms[-1].min())


def plateau(log: diag.Log) -> bool:
    """A loss that changes by less than 1e-5 over twenty steps."""
    values = loss(log)
    if len(values) < 20 or not np.isfinite(values).all():
        return False
    windows = np.lib.stride_tricks.sliding_window_view(values, 20)
    return bool(np.any(windows.max(axis=1) - windows.min(axis=1) < 1e-5))


def catapult(log: diag.Log) -> bool:
    """A loss that leaps to twice what it was a step before."""
    values = loss(log)
    return bool(np.any(values[1:] > 2 * values[:-1]))


def _output_gradients(log: diag.Log) -> Numbers:
    """Of the layers that have weights, those of a whole run alone."""
    if "rival_output_gradient" not in log.names["layers"]:
        return np.empty((0, 0))
    series = log.series("rival_output_gradient", of="layers")
    trained = {layer.name for layer in log.model.layers if layer.parameters}
    chosen = [index for index, column in enumerate(series.columns) if column in trained]
    values = series.values[:, chosen]
    return values[:, np.isfinite(values).all(axis=0)] if values.size else values


RULES: Rules = {
    "dead activations": dead_activations,
    "saturated activations": saturated_activations,
    "vanishing gradients": vanishing_gradients,
    "exploding gradients": exploding_gradients,
    "stalled gradients": stalled_gradients,
    "gradient noise": gradient_noise,
    "update ratio": update_ratio,
    "weight norms": weight_norms,
    "plateau": plateau,
    "catapult": catapult,
}
