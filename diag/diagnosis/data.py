"""What goes in, and what is asked for: inputs, targets, classes, labels."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy, lasting
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import (
    class_count,
    column,
    head_of,
    is_binary,
    is_impaired,
    is_squared_error,
    starts_badly,
)
from diag.diagnosis.validation import ACCURACIES, validation_of
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
        severity="warning" if is_impaired(log) or starts_badly(log) else "note",
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
        severity="warning" if _misses(log, float(np.median(std)), least_explained) else "note",
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


@rule(("class_count_ratio", "target_mean"), LOSSES)
def class_imbalance(log: Log, *, largest_ratio: float, most_missed: float) -> Iterator[Finding]:
    """One class far rarer than another, and hardly ever predicted."""
    if "class_count_ratio" in log:
        yield from _of_many_classes(log, largest_ratio, most_missed)
    elif is_binary(log) and "prediction_max" in log:
        yield from _of_two_classes(log, largest_ratio)
    else:
        raise NotAssessableError("the log has no class counts, and no targets of one output with two classes")


def _of_many_classes(log: Log, largest_ratio: float, most_missed: float) -> Iterator[Finding]:
    """By the probe batch, which counts classes and looks for the rarest."""
    missed = log.series("rarest_class_error_rate").known()
    ratio = float(np.nanmax(column(log, "class_count_ratio")))
    if ratio <= largest_ratio or not len(missed.steps):
        return
    rate = missed.values[:, 0]
    # That it is missed at first is the rule; that it still is when half of the run is over is not.
    spell = lasting(rate > most_missed, missed.steps)
    is_neglected = spell is not None and spell.start <= len(rate) / 2
    yield Finding(
        rule="class_imbalance",
        severity="warning" if is_neglected else "note",
        layer=None,
        onset_step=spell.step if spell else int(missed.steps[0]),
        evidence=Evidence(
            series="rarest_class_error_rate" if is_neglected else "class_count_ratio",
            value=float(rate[-1]) if is_neglected else ratio,
            band=f"at most {largest_ratio:g} to 1, or at most {most_missed:.0%} of the rarest class missed",
            readings=spell.readings if spell else len(rate),
            last_healthy_step=spell.last_healthy_step if spell else None,
            text=(
                f"In the probe batch the most frequent class stands {ratio:.3g} to 1 against the rarest, "
                f"of whose examples {rate[-1]:.0%} are missed in the end."
            ),
        ),
        **_IMBALANCE,
    )


def _of_two_classes(log: Log, largest_ratio: float) -> Iterator[Finding]:
    share = float(np.nanmean(column(log, "target_mean")))
    ratio = max(share, 1 - share) / min(share, 1 - share)
    if ratio <= largest_ratio:
        return
    onset = begins_to_last(_always_the_same(log, rare_is_one=share < 0.5), least=5)
    is_neglected = onset is not None and onset <= len(column(log, "target_mean")) / 2
    yield Finding(
        rule="class_imbalance",
        severity="warning" if is_neglected else "note",
        layer=None,
        onset_step=int(log.series("target_mean").steps[onset or 0]),
        evidence=Evidence(
            series="target_mean",
            value=ratio,
            band=f"at most {largest_ratio:g} to 1",
            readings=len(column(log, "target_mean")),
            last_healthy_step=None,
            text=(
                f"The classes stand {ratio:.3g} to 1 over all recorded batches"
                + (", and the rare one is predicted for no example any more." if is_neglected else ".")
            ),
        ),
        **_IMBALANCE,
    )


_IMBALANCE: Any = {
    "why": "Always naming the frequent class is nearly as good a guess as learning the difference.",
    "fix": "Weight the loss by inverse frequency or draw batches evenly, and set the last bias to the log odds.",
    "confidence": 0.8,
    "references": ("Thresholds: Amazon SageMaker Debugger, ClassImbalance",),
}


def _always_the_same(log: Log, rare_is_one: bool) -> np.ndarray:
    """Readings at which no prediction lies on the rare class's side."""
    head = head_of(log)
    middle = 0.5 if head is not None and head.kind in ("Sigmoid", "Hardsigmoid") else 0.0
    if rare_is_one:
        return np.asarray(column(log, "prediction_max") < middle)
    return np.asarray(column(log, "prediction_min") > middle)


@rule(LOSSES, ACCURACIES, "target_max")
def label_corruption(log: Log, *, largest_lift: float, least_progress: float) -> Iterator[Finding]:
    """A classifier that learns its training set while validation stays at chance."""
    classes, outcome = class_count(log), Outcome.of(log)
    validation = validation_of(log, ACCURACIES)
    if classes is None or outcome is None or validation is None or len(validation.steps) < 3:
        return
    best = float(np.max(validation.values))
    if outcome.progress < least_progress or best > largest_lift / classes:
        return
    yield Finding(
        rule="label_corruption",
        severity="warning",
        layer=None,
        onset_step=int(validation.steps[0]),
        evidence=Evidence(
            series=validation.name,
            value=best,
            band=f"above {largest_lift / classes:.3g}, {largest_lift:g} times chance",
            readings=len(validation.steps),
            last_healthy_step=None,
            text=(
                f"{outcome.progress:.0%} of the training loss is gone, yet the best validation accuracy is "
                f"{best:.1%}; chance among {classes} classes has {1 / classes:.1%}."
            ),
        ),
        why="The network memorises: what it learns of the training labels says nothing about other examples.",
        fix=(
            "Check that inputs and labels are shuffled together, in training and in validation, "
            "and look at a few pairs by eye."
        ),
        confidence=0.7,
        references=("Zhang et al., Understanding deep learning requires rethinking generalization, 2017",),
    )
