"""Labels that do not belong to their examples, and examples that come in an order of their labels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.regularization import has_dropout
from diag.diagnosis.rules import rule
from diag.diagnosis.task import class_count, column, guess_loss, names_many_right
from diag.diagnosis.validation import (
    ACCURACIES,
    VALIDATION_LOSSES,
    final_of,
    one_example,
    validation_of,
)
from diag.log import Log, Series

LEAST_EVALUATIONS = 8
# Of the loss of a guess: below this, nothing was learned that could be passed on.
LEAST_LEARNED = 0.05


@rule(LOSSES, (*ACCURACIES, *VALIDATION_LOSSES), "target_max")
def label_corruption(
    log: Log,
    *,
    largest_lift: float,
    least_progress: float,
    least_passed_on: float,
    largest_gap: float,
    most_lost: float,
) -> Iterator[Finding]:
    """Training labels that the inputs do not tell: learned by heart, passed on to nothing, or not to be learned."""
    sign = (
        _memorised(log, largest_lift, least_progress)
        or _passes_nothing_on(log, least_passed_on)
        or _harder_than_validation(log, largest_gap)
        or _unlearned(log, most_lost)
    )
    if sign is None:
        return
    yield Finding(
        rule="label_corruption",
        severity="warning",
        layer=None,
        onset_step=int(sign.series.steps[0]),
        evidence=Evidence(
            series=sign.series.name,
            value=sign.value,
            band=sign.band,
            readings=len(sign.series.steps),
            last_healthy_step=None,
            text=sign.text,
        ),
        why="What can be learned of these labels says nothing about other examples, or cannot be learned but by heart.",
        fix=(
            "Check that inputs and labels are shuffled together, in training and in validation, "
            "and look at a few pairs by eye."
        ),
        confidence=0.7,
        references=("Zhang et al., Understanding deep learning requires rethinking generalization, 2017",),
    )


class _Sign(NamedTuple):
    """What gives the labels away."""

    series: Series
    value: float
    band: str
    text: str


def _memorised(log: Log, largest_lift: float, least_progress: float) -> _Sign | None:
    """A training loss that falls while the validation accuracy stays at chance."""
    classes, outcome = class_count(log), Outcome.of(log)
    accuracy = validation_of(log, ACCURACIES)
    if classes is None or outcome is None or accuracy is None or len(accuracy.steps) < 3:
        return None
    best = float(np.max(accuracy.values))
    has_learned = outcome.progress >= least_progress and outcome.final < 0.95 * np.log(classes)
    if not has_learned or best > largest_lift / classes:
        return None
    text = (
        f"{outcome.progress:.0%} of the training loss is gone, yet the best validation accuracy is "
        f"{best:.1%}; chance among {classes} classes has {1 / classes:.1%}."
    )
    return _Sign(accuracy, best, f"above {largest_lift / classes:.3g}, {largest_lift:g} times chance", text)


def _passes_nothing_on(log: Log, least_passed_on: float) -> _Sign | None:
    """A training loss below that of a guess, and a validation loss that never was."""
    found = _both_losses(log)
    if found is None:
        return None
    validation, training, guess = found
    best = float(np.min(validation.values)) / guess
    if names_many_right(log):
        return None
    # Who has learned little by heart must have passed on less.
    lines = (1 - share for share in (LEAST_LEARNED, least_passed_on))
    line = next((line for line in lines if training <= line <= best), None)
    if line is None:
        return None
    text = (
        f"The training loss ends at {training:.2f} of that of a guess, the validation loss is {best:.2f} of it "
        f"at best: nothing of what is learned holds for other examples."
    )
    return _Sign(validation, best, f"below {line:g} of the loss of a guess", text)


def _harder_than_validation(log: Log, largest_gap: float) -> _Sign | None:
    """A training loss far above the validation loss, without the dropout that would explain it."""
    found = _both_losses(log)
    if found is None or has_dropout(log):
        return None
    validation, training, guess = found
    gap = training - final_of(validation) / guess
    if gap <= largest_gap:
        return None
    text = (
        f"In the end the training loss lies above the validation loss by {gap:.2f} of the loss of a guess: "
        f"the training labels, or inputs, are noisier than those of validation."
    )
    return _Sign(validation, gap, f"a gap of at most {largest_gap:g}", text)


def _unlearned(log: Log, most_lost: float) -> _Sign | None:
    """A validation accuracy that was better before the training set was learned by heart.

    What holds for all examples is learned first, what holds for single ones later [1]. Of right labels the
    latter costs hardly any accuracy; of wrong ones it does.

    References:
        [1] Arpit et al., A Closer Look at Memorization in Deep Networks, 2017, arXiv:1706.05394.
    """
    outcome, accuracy = Outcome.of(log), validation_of(log, ACCURACIES)
    if outcome is None or accuracy is None or len(accuracy.steps) < LEAST_EVALUATIONS:
        return None
    # Of three in a row the middle one: the best of all may be luck.
    typical = np.median(np.lib.stride_tricks.sliding_window_view(accuracy.values[:, 0], 3), axis=1)
    best = int(np.argmax(typical))
    lost = float(typical[best] - typical[-1])
    was = outcome.around(int(accuracy.steps[best + 1]))
    if lost <= max(most_lost, 9 * one_example(accuracy.values)) or not outcome.final < 0.9 * was:
        return None
    text = (
        f"The validation accuracy was {typical[best]:.1%} about step {accuracy.steps[best + 1]} and is "
        f"{typical[-1]:.1%} in the end, while the training loss fell from {was:.4g} to {outcome.final:.4g}: "
        f"what is learned by heart contradicts what was learned of all."
    )
    return _Sign(accuracy, lost, f"at most {most_lost:g} of the accuracy lost", text)


def _both_losses(log: Log) -> tuple[Series, float, float] | None:
    """The validation loss, the final training loss over that of a guess, and that of a guess, where all are known."""
    outcome, guess = Outcome.of(log), guess_loss(log)
    validation = validation_of(log, VALIDATION_LOSSES)
    if outcome is None or guess is None or validation is None or len(validation.steps) < 3:
        return None
    return validation, outcome.final / guess, guess


@rule("target_mean", "target_std", LOSSES)
def unshuffled_data(log: Log, *, least_share: float, least_correlation: float) -> Iterator[Finding]:
    """Batches whose targets are alike within, and drift from batch to batch: the data comes in some order."""
    series = log.series("target_mean")
    mean, std = column(log, "target_mean"), column(log, "target_std")
    # What is one and the same but for rounding has no order.
    if len(mean) < 30 or not np.isfinite(mean).all() or not np.std(mean) > 1e-6 * np.max(np.abs(mean)):
        return
    share = float(np.var(mean) / (np.var(mean) + np.mean(std**2)))
    correlation = float(np.corrcoef(mean[:-1], mean[1:])[0, 1])
    if share < least_share or not correlation >= least_correlation:
        return
    yield Finding(
        rule="unshuffled_data",
        severity="warning",
        layer=None,
        onset_step=int(series.steps[0]),
        evidence=Evidence(
            series="target_mean",
            value=correlation,
            band=f"correlation of one batch with the next below {least_correlation:g}",
            readings=len(mean),
            last_healthy_step=None,
            text=(
                f"{share:.0%} of the targets' variance lies between batches, not within them, and each batch's mean "
                f"tells the next (correlation {correlation:.2f}): the examples come in some order."
            ),
        ),
        why="Each stretch of batches pulls the network towards its own targets, and the next undoes it.",
        fix="Shuffle the training set before every pass (shuffle=True); a stream that has an order needs a buffer.",
        confidence=0.8,
        references=(
            "Bengio, Practical recommendations for gradient-based training of deep architectures, 2012",
        ),
    )
