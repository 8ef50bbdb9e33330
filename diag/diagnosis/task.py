"""What summaries give away of the task: the head, the classes, and the loss of a guess that ignores the input."""

import math

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Severity
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.rules import NotAssessableError
from diag.diagnosis.validation import ACCURACIES, VALIDATION_LOSSES, final_of, validation_of
from diag.events import Criterion, Layer
from diag.log import Log

Numbers = NDArray[np.float64]

# Criteria that measure how far numbers lie apart, and so have no classes.
OF_INDICES = ("CrossEntropyLoss", "NLLLoss")
DISTANCES = frozenset({"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "GaussianNLLLoss", "PoissonNLLLoss"})


def layers_that_ran(log: Log) -> list[Layer]:
    """The layers in order of execution, without those that never ran, which have no shape."""
    return [layer for layer in log.model.layers if layer.output_shape]


def head_of(log: Log) -> Layer | None:
    """The last layer that ran, whose output is taken for the network's."""
    return next(reversed(layers_that_ran(log)), None)


def column(log: Log, name: str) -> Numbers:
    """A series of one number a step."""
    return log.series(name).values[:, 0]


def from_the_start(log: Log) -> None:
    """Makes sure that the first step was recorded, which tells of the state before training.

    Raises:
        NotAssessableError: If it was not.
    """
    if not len(log.steps) or log.steps[0] != 0:
        raise NotAssessableError("the log does not hold step 0, before which nothing had been learned")


def class_count(log: Log) -> int | None:
    """Number of classes where the targets are class indices, one for each of the head's outputs.

    One-hot targets and numbers of a regression give None: what they are compared with is not known.
    """
    head, criterion = head_of(log), criterion_of(log)
    if head is None or not _has_targets(log):
        return None
    if criterion is not None and criterion.kind in DISTANCES:
        return None
    least, most = column(log, "target_min"), column(log, "target_max")
    known = np.concatenate([least, most])
    known = known[np.isfinite(known)]
    if not known.size or known.min() < 0 or np.any(known != np.round(known)):
        return None
    for classes in (head.output_shape[-1], head.output_shape[0]):
        if _are_indices(int(known.min()), int(known.max()) + 1, classes) and not _is_one_hot_of_two(
            log, classes
        ):
            return classes
    return _classes_of_criterion(log, int(known.max()) + 1)


def _classes_of_criterion(log: Log, end: int) -> int | None:
    """As many as the head has outputs, where the criterion asks for indices, though the last of them never come."""
    head, criterion = head_of(log), criterion_of(log)
    if head is None or len(head.output_shape) != 1 or criterion is None or criterion.kind not in OF_INDICES:
        return None
    classes = head.output_shape[0]
    is_one_hot = end == 2 and np.allclose(column(log, "target_mean"), 1 / classes)
    return classes if 2 <= end <= classes and not is_one_hot else None


def _are_indices(least: int, end: int, classes: int) -> bool:
    """Whether targets from `least` to below `end` are indices of so many classes."""
    # Of a large vocabulary neither the first word nor the last need ever come.
    return (least == 0 and end == classes >= 2) or (classes > 20 and 4 <= end <= classes)


def _is_one_hot_of_two(log: Log, classes: int) -> bool:
    return classes == 2 and bool(np.all(column(log, "target_mean") == 0.5))


def _has_targets(log: Log) -> bool:
    return all(name in log for name in ("target_mean", "target_std", "target_min", "target_max"))


def is_binary(log: Log) -> bool:
    """Whether the targets are zeros and ones for a single output."""
    head = head_of(log)
    if head is None or math.prod(head.output_shape) != 1 or not _has_targets(log):
        return False
    mean, std = column(log, "target_mean"), column(log, "target_std")
    least, most = column(log, "target_min"), column(log, "target_max")
    if not (np.all(least >= 0) and np.all(most <= 1) and np.any(std > 0)):
        return False
    # Of zeros and ones, and of nothing else between them, the mean gives away the spread.
    return bool(np.allclose(std, np.sqrt(np.clip(mean * (1 - mean), 0, None)), atol=1e-3))


def is_squared_error(log: Log) -> bool:
    """Whether the loss is the mean squared distance of predictions from targets.

    Where the log does not say, the moments of both at the start do.
    """
    outcome, criterion = Outcome.of(log), criterion_of(log)
    if outcome is None or class_count(log) or not _has_targets(log):
        return False
    if criterion is not None and criterion.kind in DISTANCES:
        return criterion.kind == "MSELoss" and criterion.reduction != "sum"
    if "prediction_mean" not in log or "prediction_std" not in log:
        return False
    moments = [
        column(log, name)[0] for name in ("target_mean", "target_std", "prediction_mean", "prediction_std")
    ]
    mean, std, guess, spread = moments
    # What both share, which their moments do not tell, takes off or adds at most this.
    shared = 2 * std * spread
    expected = std**2 + spread**2 + (mean - guess) ** 2
    return bool(abs(outcome.initial - expected) <= shared + 0.01 * expected)


def criterion_of(log: Log) -> Criterion | None:
    """The watched criterion, where the log says which it is."""
    return next(iter(log.model.criteria), None)


def guess_of_classes(log: Log) -> float | None:
    """Loss of a guess among the classes: ln C, times the batch where the criterion sums; None without classes."""
    classes, criterion = class_count(log), criterion_of(log)
    if classes is None:
        return None
    is_sum = criterion is not None and criterion.reduction == "sum" and "batch_size" in log
    return math.log(classes) * (float(np.nanmedian(column(log, "batch_size"))) if is_sum else 1.0)


def guess_loss(log: Log) -> float | None:
    """Loss of the best guess that ignores the input: ln C for classes, the targets' variance for squares."""
    guess = guess_of_classes(log)
    if guess is not None:
        return guess
    if is_squared_error(log):
        # Where batches differ in their mean, that is part of the variance too.
        variance = float(np.nanmean(column(log, "target_std") ** 2) + np.nanvar(column(log, "target_mean")))
        # A guess at targets that are all one number is no loss to measure others by.
        return variance or None
    return None


def starts_badly(log: Log) -> bool:
    """Whether a classifier needs much of the run to come down to the loss of a guess, and ends not far below."""
    outcome, guess = Outcome.of(log), guess_of_classes(log)
    if outcome is None or guess is None:
        return False
    above = outcome.smooth > guess
    is_long = np.count_nonzero(above) >= max(10, len(above) / 2)
    return bool(above[0] and is_long and not outcome.final < 0.5 * guess)


def is_impaired(log: Log, step: int | None = None) -> bool:
    """Whether the training failed: little learned, no better than a guess, or hurt for good after a step."""
    outcome = Outcome.of(log)
    if outcome is None:
        return False
    guess = guess_loss(log)
    is_a_guess = guess is not None and not outcome.final < 0.9 * guess
    return outcome.has_learned_little() or is_a_guess or (step is not None and outcome.is_hurt_after(step))


def training_left(log: Log) -> float | None:
    """Share of a guess's loss that is left in the end on the training set; None where no loss is known."""
    outcome = Outcome.of(log)
    guess = _guess(log)
    return outcome.final / guess if outcome is not None and guess else None


def _guess(log: Log) -> float:
    """What a guess costs; where that is not known, the first loss. Zero without any."""
    outcome = Outcome.of(log)
    return guess_loss(log) or (abs(outcome.initial) if outcome is not None else 0.0)


def shortfall(log: Log) -> float | None:
    """The same on the training or on the validation set, whichever is more."""
    left, validation = training_left(log), validation_of(log, VALIDATION_LOSSES)
    if left is None or validation is None or not len(validation.values):
        return left
    return max(left, final_of(validation) / _guess(log))


def errors_left(log: Log) -> float | None:
    """Share of a guess's errors that a classifier makes in the end on the validation set.

    None where no accuracy from 0 to 1 is logged, or hardly ever. A guess names the more frequent of two classes, and
    one of several.
    """
    accuracy, classes = validation_of(log, ACCURACIES), class_count(log) or (2 if is_binary(log) else None)
    if classes is None or accuracy is None or len(accuracy.values) < 3 or accuracy.values.max() > 1:
        return None
    share = float(np.nanmean(column(log, "target_mean")))
    chance = max(share, 1 - share) if classes == 2 else 1 / classes
    return (1 - final_of(accuracy)) / (1 - chance) if chance < 1 else None


def does_well(log: Log) -> bool:
    """Whether little is left to be desired of what the user asks for: of the errors, where they are logged.

    A classifier that is sure of itself has a high loss on the few examples that it gets wrong.
    """
    errors, loss = errors_left(log), shortfall(log)
    left = loss if errors is None else errors
    return left is not None and 0 <= left <= 0.1 and not is_impaired(log)


def names_many_right(log: Log) -> bool:
    """Whether a classifier is known to have come more than half of the way from a guess to perfection."""
    left = errors_left(log)
    return left is not None and left < 0.5


def severity_of(log: Log, step: int | None = None) -> Severity:
    """How grave something odd is: by what became of the training."""
    if is_impaired(log, step):
        return "fault"
    return "warning" if is_short(log) else "note"


def is_short(log: Log, share: float = 0.1) -> bool:
    """Whether the training leaves much to be desired: enough for what is odd in any case to be worth a warning."""
    left = shortfall(log)
    return left is not None and not left <= share
