"""What goes in, and what is asked for: inputs, targets, classes, labels."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import (
    class_count,
    column,
    is_binary,
    is_impaired,
    is_short,
    is_squared_error,
    starts_badly,
)
from diag.log import Log

# Layers that look entries up, and layers that scale what comes in by themselves.
LOOK_UP = ("Embedding",)
SCALE = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


@rule("input_mean", "input_std", LOSSES)
def unscaled_input(log: Log, *, largest_size: float, least_size: float) -> Iterator[Finding]:
    """Inputs far larger or far smaller than one, and a training that suffers."""
    if log.model.layers and log.model.layers[0].kind.startswith(LOOK_UP + SCALE):
        return
    mean, std = column(log, "input_mean"), column(log, "input_std")
    size = np.sqrt(mean**2 + std**2)
    is_outside = (size > largest_size) | (size < least_size)
    if np.count_nonzero(is_outside) <= len(size) / 2 or not np.any(std > 0):
        return
    value = float(np.median(size[is_outside]))
    yield Finding(
        rule="unscaled_input",
        severity="warning" if is_impaired(log) or starts_badly(log) or is_short(log) else "note",
        layer=None,
        onset_step=int(log.series("input_mean").steps[np.argmax(is_outside)]),
        evidence=Evidence(
            series="input_mean" if abs(np.median(mean)) > np.median(std) else "input_std",
            value=value,
            band=f"root mean square from {least_size:g} to {largest_size:g}",
            readings=int(np.count_nonzero(is_outside)),
            last_healthy_step=None,
            text=(
                f"The input has a root mean square of {value:.3g} (mean {np.median(mean):.3g}, "
                f"standard deviation {np.median(std):.3g}); what is standardised has 1."
            ),
        ),
        why=(
            "The first layer's gradient grows with its input: the loss is steep along some weights and flat "
            "along others, and no one learning rate fits both."
        ),
        fix="Subtract each feature's mean and divide by its standard deviation, both taken from the training set.",
        confidence=0.8,
        references=("LeCun et al., Efficient BackProp, 1998, section 4.3",),
    )


@rule("input_std", LOSSES)
def constant_input(log: Log) -> Iterator[Finding]:
    """Inputs that are one and the same number everywhere."""
    series = log.series("input_std")
    onset = begins_to_last(series.values[:, 0] == 0)
    if onset is None or not is_impaired(log, int(series.steps[onset])):
        return
    step = int(series.steps[onset])
    yield Finding(
        rule="constant_input",
        severity="fault",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series="input_std",
            value=0.0,
            band="above 0",
            readings=len(series.steps) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=f"From step {step} on every entry of the input is {column(log, 'input_mean')[onset]:.4g}.",
        ),
        why="No example differs from another, so nothing about them can be learned.",
        fix="Look at what the loader returns: a scaling that rounds to zero, an empty file, a wrong column.",
        confidence=0.95,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: constant features",),
    )


@rule("target_mean", "target_std", "prediction_std", LOSSES)
def unscaled_target(log: Log, *, largest_size: float, least_explained: float) -> Iterator[Finding]:
    """Targets of a regression far larger than one, which the network does not reach."""
    if class_count(log) is not None or is_binary(log):
        return
    mean, std = column(log, "target_mean"), column(log, "target_std")
    size = float(np.median(np.sqrt(mean**2 + std**2)))
    if not size > largest_size:
        return
    yield Finding(
        rule="unscaled_target",
        severity="warning"
        if _misses(log, float(np.median(std)), least_explained) or is_short(log)
        else "note",
        layer=None,
        onset_step=int(log.series("target_mean").steps[0]),
        evidence=Evidence(
            series="target_mean" if abs(np.median(mean)) > np.median(std) else "target_std",
            value=size,
            band=f"root mean square at most {largest_size:g}",
            readings=len(mean),
            last_healthy_step=None,
            text=(
                f"The targets have a root mean square of {size:.3g} (mean {np.median(mean):.3g}, standard "
                f"deviation {np.median(std):.3g}); a fresh network's output is of size 1."
            ),
        ),
        why=(
            "Loss and gradients grow with the square of the targets, and the last layer must first grow to "
            "their size: small learning rates take for ever, large ones diverge."
        ),
        fix="Standardise the targets and turn predictions back afterwards, or set the last bias to the targets' mean.",
        confidence=0.75,
        references=("Karpathy, A Recipe for Training Neural Networks, 2019: init well",),
    )


def _misses(log: Log, std: float, least_explained: float) -> bool:
    """Whether the loss in the end is that of a guess, or the predictions spread too little to be anything else."""
    outcome = Outcome.of(log)
    if outcome is None:
        return False
    if is_squared_error(log):
        return not outcome.final <= (1 - least_explained) * std**2
    return outcome.has_learned_little()
