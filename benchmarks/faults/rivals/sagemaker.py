"""Amazon SageMaker Debugger's built-in rules, from their published definitions and defaults.

Covered: VanishingGradient, ExplodingTensor, DeadRelu, SaturatedActivation, PoorWeightInitialization (its ratio
of variances and its patience), WeightUpdateRatio, UnchangedTensor (of weights), Overfit, LossNotDecreasing.
Not covered: AllZero and TensorVariance, which are run on collections that a user names; Overtraining and
ClassImbalance, which need labels or a patience in epochs; StalledTraining, which watches the clock.

By default it would save every 500th step, and see only the first of these runs; here it sees every step.
"""

import numpy as np

import diag
from benchmarks.faults.rivals.reading import (
    Rules,
    consecutive,
    has_lost_numbers,
    logged,
    loss,
    of_layers,
    of_parameters,
)


def vanishing_gradient(log: diag.Log) -> bool:
    """A gradient whose entries are below 1e-7 on average."""
    return bool(np.any(of_parameters(log, "rival_gradient_size") < 1e-7))


def dead_relu(log: diag.Log) -> bool:
    """More than half of a layer's ReLUs active on fewer than one example in a hundred."""
    return bool(np.any(of_layers(log, "rival_quiet_units", "ReLU") > 0.5))


def saturated_activation(log: diag.Log) -> bool:
    """More than half of a layer's tanh or sigmoid units at their ends."""
    tanh, sigmoid = of_layers(log, "rival_tanh_ends", "Tanh"), of_layers(log, "rival_sigmoid_ends", "Sigmoid")
    return bool(np.any(tanh > 0.5) or np.any(sigmoid > 0.5))


def poor_weight_initialization(log: diag.Log) -> bool:
    """Over the first ten steps: layers' variances ten times apart, or faint gradients, or five steps without gain."""
    norms = of_parameters(log, "weight_norm", matrices=True)[:10]
    sizes = [np.prod(p.shape) for p in log.model.parameters if len(p.shape) >= 2]
    if norms.size and len(sizes) == norms.shape[1]:
        variances = norms**2 / np.array(sizes)
        if np.any(variances.max(axis=1) > 10 * variances.min(axis=1)):
            return True
    spread = of_parameters(log, "rival_gradient_range", matrices=True)[:10]
    if spread.size and np.nanmin(spread) < 0.001:
        return True
    first = loss(log)[:10]
    return bool(len(first) > 5 and np.all(first[-5:] >= np.min(first[:-5])))


def weight_update_ratio(log: diag.Log) -> bool:
    """Updates above ten times the weights, or below a hundred-millionth."""
    ratio = of_parameters(log, "update_ratio")
    return bool(np.any(ratio > 10) or np.any(ratio < 1e-8))


def unchanged_tensor(log: diag.Log) -> bool:
    """Weights that stay the same, to 1e-5, over three steps."""
    ratio = of_parameters(log, "update_ratio")
    return bool(len(ratio)) and consecutive(ratio <= 1e-5, 3)


def overfit(log: diag.Log) -> bool:
    """A validation loss a tenth above the training loss, once."""
    validation, training = logged(log, "val_loss"), loss(log)
    if not len(validation) or not len(training):
        return False
    parts = np.array_split(training, len(validation))
    means = np.array([np.mean(part) if len(part) else np.nan for part in parts])
    return bool(np.any((validation - means) / np.abs(means) > 0.1))


def loss_not_decreasing(log: diag.Log) -> bool:
    """A loss that has not fallen by 0.1 % of itself over ten steps."""
    values = loss(log)
    if len(values) <= 10:
        return False
    return not np.all(values[10:] <= (1 - 1e-3) * values[:-10])


RULES: Rules = {
    "VanishingGradient": vanishing_gradient,
    "ExplodingTensor": has_lost_numbers,
    "DeadRelu": dead_relu,
    "SaturatedActivation": saturated_activation,
    "PoorWeightInitialization": poor_weight_initialization,
    "WeightUpdateRatio": weight_update_ratio,
    "UnchangedTensor": unchanged_tensor,
    "Overfit": overfit,
    "LossNotDecreasing": loss_not_decreasing,
}
