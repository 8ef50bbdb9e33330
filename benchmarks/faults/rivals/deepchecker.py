"""TheDeepChecker's checks while and before training, from its published settings.

Covered: features not scaled, first loss far from a guess's, weights untrained, diverging weights, dead,
saturated and unstable activations, vanishing and exploding gradients, unstable learning, a loss that does not
fall, diverges or flickers. Not covered: checks that run the network themselves (overfitting one batch, mode and
augmentation switched, gradients against differences, a test of the first weights by family), which no log shows.
"""

import math

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

WINDOW = 5


def unscaled_features(log: diag.Log) -> bool:
    """Features whose least is neither 0 nor -1 or whose largest is not 1, unless they are standardised."""
    if "input_mean" not in log:
        return False
    mean, std = (log.series(f"input_{name}").values[:, 0] for name in ("mean", "std"))
    low, high = (log.series(f"input_{name}").values.min() for name in ("min", "max"))
    is_standard = abs(np.median(mean)) < 0.5 and 0.5 < np.median(std) < 2
    return not (is_standard or (low in (0, -1) and high == 1))


def wrong_initial_loss(log: diag.Log) -> bool:
    """A first loss more than twice that of a guess among the classes."""
    classes = logged(log, "target_max").max(initial=0) + 1
    values = loss(log)
    is_classes = "val_accuracy" in log and classes >= 2
    return bool(is_classes and len(values) and abs(values[0] / math.log(classes) - 1) > 1)


def untrained_weights(log: diag.Log) -> bool:
    """Weights that never change."""
    updates = of_parameters(log, "update_norm")
    return bool(any(not p.is_trained for p in log.model.parameters) or np.any(np.all(updates == 0, axis=0)))


def diverging_weights(log: diag.Log) -> bool:
    """Mean size above 1e8, or twice that of five steps before."""
    norms = of_parameters(log, "weight_norm", matrices=True)
    return _grows(norms) or bool(np.any(norms > 1e8))


def dead_activations(log: diag.Log) -> bool:
    """More than half of a layer's units with a 95th percentile of zero."""
    return bool(np.any(of_layers(log, "rival_dead_units", "ReLU", "ReLU6", "LeakyReLU") > 0.5))


def saturated_activations(log: diag.Log) -> bool:
    """More than half of a layer's units far from the middle on average."""
    tanh = of_layers(log, "rival_tanh_saturation", "Tanh")
    sigmoid = of_layers(log, "rival_sigmoid_saturation", "Sigmoid")
    return bool(np.any(tanh > 0.5) or np.any(sigmoid > 0.5))


def unstable_activations(log: diag.Log) -> bool:
    """A hidden nonlinearity whose standard deviation lies outside 0.5 to 2 over a whole window."""
    kinds = ("ReLU", "Tanh", "Sigmoid", "GELU", "LeakyReLU", "SiLU")
    mean, rms = of_layers(log, "activation_mean", *kinds), of_layers(log, "activation_rms", *kinds)
    if len(mean) < WINDOW or not mean.size:
        return False
    std = np.sqrt(np.maximum(rms**2 - mean**2, 0))
    outside = (std < 0.5) | (std > 2)
    return bool(np.any(np.all(np.lib.stride_tricks.sliding_window_view(outside, WINDOW, axis=0), axis=-1)))


def vanishing_gradient(log: diag.Log) -> bool:
    """Mean size below 1e-6, or half of that of five steps before."""
    sizes = of_parameters(log, "rival_gradient_size", matrices=True)
    return bool(np.any(sizes < 1e-6)) or _grows(1 / np.maximum(sizes, 1e-30))


def exploding_gradient(log: diag.Log) -> bool:
    """Mean size above 1e6, or twice that of five steps before."""
    sizes = of_parameters(log, "rival_gradient_size", matrices=True)
    return bool(np.any(sizes > 1e6)) or _grows(sizes)


def unstable_learning(log: diag.Log) -> bool:
    """Updates over weights outside 1e-4 to 1e-1 over a whole window."""
    ratio = of_parameters(log, "update_ratio", matrices=True)
    smooth = _smoothed(ratio)
    return bool(np.any(smooth > 1e-1) or np.any(smooth < 1e-4))


def slow_loss(log: diag.Log) -> bool:
    """A smoothed loss that falls by less than a twentieth over five steps."""
    smooth = _smoothed(loss(log)[:, None])[:, 0]
    return bool(len(smooth) > WINDOW and np.any(smooth[WINDOW:] > 0.95 * smooth[:-WINDOW]))


def diverging_loss(log: diag.Log) -> bool:
    """A smoothed loss above its first, or twice its best."""
    smooth = _smoothed(loss(log)[:, None])[:, 0]
    if not len(smooth):
        return has_lost_numbers(log)
    return bool(np.any(smooth > smooth[0]) or np.any(smooth > 2 * np.minimum.accumulate(smooth)))


def flickering_loss(log: diag.Log) -> bool:
    """A loss that changes direction at more than half of fifty steps."""
    values = loss(log)
    turns = np.sign(np.diff(values[:-1])) != np.sign(np.diff(values[1:]))
    if len(turns) < 50:
        return False
    return bool(np.any(np.convolve(turns, np.full(50, 1 / 50), "valid") > 0.5))


def unbalanced_labels(log: diag.Log) -> bool:
    """Targets that do not vary: the one balance that summaries show."""
    return bool("target_std" in log and np.all(logged(log, "target_std") < 1e-3))


def _smoothed(values: Numbers) -> Numbers:
    if len(values) < WINDOW:
        return np.empty((0, values.shape[1]))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0).mean(axis=-1))


def _grows(values: Numbers) -> bool:
    """Whether a smoothed size doubles within a window."""
    smooth = _smoothed(values)
    return bool(len(smooth) > WINDOW and np.any(smooth[WINDOW:] >= 2 * smooth[:-WINDOW]))


RULES: Rules = {
    "features not scaled": unscaled_features,
    "initial loss": wrong_initial_loss,
    "untrained weights": untrained_weights,
    "diverging weights": diverging_weights,
    "dead activations": dead_activations,
    "saturated activations": saturated_activations,
    "unstable activations": unstable_activations,
    "vanishing gradient": vanishing_gradient,
    "exploding gradient": exploding_gradient,
    "unstable learning": unstable_learning,
    "slow loss": slow_loss,
    "diverging loss": diverging_loss,
    "flickering loss": flickering_loss,
    "unbalanced labels": unbalanced_labels,
    "numerical error": has_lost_numbers,
}
