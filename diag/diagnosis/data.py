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
    guess_loss,
    is_binary,
    is_impaired,
    is_short,
    is_squared_error,
    starts_badly,
    training_left,
)
from diag.diagnosis.validation import VALIDATION_LOSSES, final_of, validation_of
from diag.log import Log

# Layers that look entries up, and layers that scale what comes in by themselves.
LOOK_UP = ("Embedding",)
SCALE = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
LEAST_READINGS = 10
ROUNDING = 1e-5


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


@rule("input_mean", "input_std", "input_min", "input_max", LOSSES)
def repeated_batches(
    log: Log, *, largest_ratio: float, least_gap: float, whole_set: float
) -> Iterator[Finding]:
    """The same few batches over and over, in the same order, and a network that knows them by heart."""
    period = _period(log)
    if period is None:
        return
    steps = log.series("input_mean").steps
    spacing = int(steps[1] - steps[0])
    ends = _both_ends(log)
    knows_by_heart = ends is not None and ends[1] > max(largest_ratio * ends[0], ends[0] + least_gap)
    examples = float(np.nanmedian(column(log, "batch_size"))) if "batch_size" in log else 0.0
    is_on_purpose = period == 1 and examples >= whole_set
    yield Finding(
        rule="repeated_batches",
        severity="warning" if knows_by_heart and not is_on_purpose else "note",
        layer=None,
        onset_step=int(steps[0]),
        evidence=Evidence(
            series="input_mean",
            value=float(period * spacing),
            band="batches that are dealt anew at every pass",
            readings=len(steps),
            last_healthy_step=None,
            text=(
                f"Inputs and targets of a batch are those of {_counted_steps(period * spacing)} before, to the last "
                f"digit, all through the run" + _ends_told(ends)
            ),
        ),
        why="What the network is never shown it cannot learn, and what comes again and again it learns by heart.",
        fix=(
            "Make the loader once, before the loop, with shuffle=True; see whether the training set is as large as it "
            "should be. Where every step takes the whole set, weight decay and an early stop are what is left."
        ),
        confidence=0.9,
        references=(
            "Bengio, Practical recommendations for gradient-based training of deep architectures, 2012",
        ),
    )


def _counted_steps(count: int) -> str:
    return "the step" if count == 1 else f"{count} steps"


def _ends_told(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "."
    return (
        f"; the training loss ends at {ends[0]:.2g} of that of a guess, the validation loss at {ends[1]:.2g}."
    )


def _both_ends(log: Log) -> tuple[float, float] | None:
    """Training and validation loss in the end, in losses of a guess; None where either is not known."""
    left, validation, guess = training_left(log), validation_of(log, VALIDATION_LOSSES), guess_loss(log)
    if left is None or guess is None or validation is None or not len(validation.steps):
        return None
    return left, final_of(validation) / guess


# What comes with an input, by which a batch is known again; rounding differs with the order of its examples.
FINGERPRINT = tuple(
    f"{what}_{name}" for what in ("input", "target") for name in ("mean", "std", "min", "max")
)
LEAST_PASSES = 3
MOST_TRIED = 20


def _period(log: Log) -> int | None:
    """After how many recorded steps the same batches come again, all through the run; None if they do not."""
    if len(set(np.diff(log.series("input_mean").steps))) != 1:
        # Recorded now at every step and then at every tenth, a run tells no period.
        return None
    prints = np.stack([column(log, name) for name in FINGERPRINT if name in log], axis=1)
    # A mean near zero is rounded by what it is the mean of.
    size = np.array([_size(log, name.partition("_")[0]) for name in FINGERPRINT if name in log])
    if len(prints) < LEAST_READINGS or not np.isfinite(prints).all() or _is_of_ones_and_zeros(log):
        return None
    again = np.flatnonzero(np.all(np.abs(prints - prints[0]) <= ROUNDING * size, axis=1))[1:]
    for period in again[:MOST_TRIED].tolist():
        is_same = np.abs(prints[period:] - prints[:-period]) <= ROUNDING * size
        if LEAST_PASSES * period <= len(prints) and np.all(is_same):
            return int(period)
    return None


def _size(log: Log, what: str) -> float:
    """Root mean square of inputs or of targets."""
    return float(np.sqrt(np.mean(column(log, f"{what}_mean") ** 2 + column(log, f"{what}_std") ** 2)))


def _is_of_ones_and_zeros(log: Log) -> bool:
    """Whether inputs are ones among zeros, of which every batch may have as many as any other, or one number."""
    mean, std = column(log, "input_mean"), column(log, "input_std")
    ends = np.stack([column(log, "input_min"), column(log, "input_max")])
    return bool(
        not np.any(std > 0)
        or (np.all(ends == [[0], [1]]) and np.allclose(std**2, mean * (1 - mean), atol=1e-3))
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
