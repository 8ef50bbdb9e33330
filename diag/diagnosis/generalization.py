"""What training gains on data that the network is not trained on."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding, Severity
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.regularization import has_dropout
from diag.diagnosis.rules import rule
from diag.diagnosis.task import class_count, guess_loss, is_short, layers_that_ran, names_many_right
from diag.diagnosis.validation import ACCURACIES, VALIDATION_LOSSES, final_of, one_example, validation_of
from diag.log import Log

LEAST_EVALUATIONS = 6


@rule(LOSSES, VALIDATION_LOSSES)
def overfitting(log: Log, *, largest_rise: float, least_rise: float, least_after: float) -> Iterator[Finding]:
    """A validation loss that has passed its best and climbs, while the training loss goes on falling."""
    outcome, validation = Outcome.of(log), validation_of(log, VALIDATION_LOSSES)
    if outcome is None or validation is None or len(validation.steps) < LEAST_EVALUATIONS:
        return
    values = validation.values[:, 0]
    best = int(np.argmin(values))
    final = final_of(validation)
    # A loss that is practically zero may double and mean nothing.
    least = max(largest_rise * abs(values[best]), least_rise * (guess_loss(log) or 0.0))
    if len(values) - 1 - best < least_after or not _has_risen(values, best, final, least):
        return
    step = int(validation.steps[best])
    if not outcome.final < outcome.around(step):
        return
    with np.errstate(divide="ignore"):
        times = float(final / values[best])
    yield Finding(
        rule="overfitting",
        severity=_severity(log, values, final),
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series=validation.name,
            value=times,
            band=f"at most {1 + largest_rise:g} times its best",
            readings=len(values) - 1 - best,
            last_healthy_step=step,
            text=(
                f"The validation loss was best at step {step}, {values[best]:.4g}, and is {final:.4g} in the end; "
                f"the training loss fell from {outcome.around(step):.4g} to {outcome.final:.4g} meanwhile."
            ),
        ),
        why="What is still learned is peculiar to the training set, and costs on other data.",
        fix="Keep the weights of the best step; more data, augmentation, weight decay or dropout move it further out.",
        confidence=0.85,
        references=("Prechelt, Early Stopping - But When?, 1998",),
    )


def _has_risen(values: NDArray[np.float64], best: int, final: float, least: float) -> bool:
    """Whether the end lies above the best by more than a number, and more than evaluations flicker."""
    flicker = float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    return bool(final - values[best] > max(least, 3 * flicker))


def _severity(log: Log, values: NDArray[np.float64], final: float) -> Severity:
    accuracy = validation_of(log, ACCURACIES)
    if accuracy is not None and len(accuracy.steps) >= 3:
        # A classifier may grow too sure of itself, and still name as many classes right as ever.
        lost = float(np.max(accuracy.values) - final_of(accuracy))
        if lost <= max(0.02, 9 * one_example(accuracy.values)):
            return "note"
    return "fault" if final > values[0] else "warning"


@rule(LOSSES, VALIDATION_LOSSES, "target_max")
def underfitting(
    log: Log, *, largest_gap: float, least_share: float, hopeless_classes: float, hopeless_numbers: float
) -> Iterator[Finding]:
    """A training loss still most of the way up at a guess, and a validation loss that is no worse."""
    outcome, validation = Outcome.of(log), validation_of(log, VALIDATION_LOSSES)
    guess = guess_loss(log)
    if outcome is None or validation is None or guess is None or len(validation.steps) < LEAST_EVALUATIONS:
        return
    final = final_of(validation)
    hopeless = hopeless_classes if class_count(log) else hopeless_numbers
    # Dropout makes the training loss the higher of the two; of both the lower counts then.
    least = min(outcome.final, final) if has_dropout(log) else outcome.final
    narrow = bottleneck(log)
    is_alike = final - outcome.final <= largest_gap * guess
    is_hopeless = least > hopeless * guess and not names_many_right(log)
    is_poor = outcome.final > least_share * guess or (narrow is not None and is_short(log))
    if not is_alike or not is_poor or outcome.has_learned_little(0.05):
        return
    yield Finding(
        rule="underfitting",
        severity="warning" if is_hopeless or (narrow and is_short(log)) else "note",
        layer=narrow,
        onset_step=None,
        evidence=Evidence(
            series=outcome.name,
            value=outcome.final / guess,
            band=f"at most {least_share:g} of the loss of a guess",
            readings=len(outcome.loss),
            last_healthy_step=None,
            text=(
                f"In the end the training loss is {outcome.final:.4g} and the validation loss {final:.4g}; "
                f"a guess that ignores the input has {guess:.4g}."
                + (
                    f" All that is learned has to pass layer {narrow!r}, by far the narrowest."
                    if narrow
                    else ""
                )
            ),
        ),
        why=(
            "Something keeps the network from fitting even what it sees: too little capacity or time, too much "
            "regularisation, or labels that the input does not tell."
        ),
        fix="See whether the network can fit a single batch; if so train longer, wider or with less regularisation.",
        confidence=0.5,
        references=("Goodfellow et al., Deep Learning, 2016, section 5.2",),
    )


def bottleneck(log: Log) -> str | None:
    """The hidden layer with weights that has at most an eighth of the units of one before and of one after; or None.

    Where one starts from the inputs these count as before, where the head follows its inputs count as after.
    """
    layers = [layer for layer in layers_that_ran(log) if layer.parameters]
    widths = [
        layer.output_shape[0] if len(layer.output_shape) != 2 else layer.output_shape[-1] for layer in layers
    ]
    inputs = {p.layer: math.prod(p.shape[1:]) for p in log.model.parameters if len(p.shape) > 1}
    for index, layer in enumerate(layers[:-1]):
        before = max([inputs.get(layers[0].name, 0), *widths[:index]])
        if 8 * widths[index] <= min(before, max([*widths[index + 1 :], inputs.get(layers[-1].name, 0)])):
            return layer.name
    return None
