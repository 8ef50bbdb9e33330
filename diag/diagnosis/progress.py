"""Whether the loss goes where it should."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import guess_loss, is_short
from diag.diagnosis.validation import VALIDATION_LOSSES, validation_of
from diag.log import Log

LEAST_READINGS = 20
LEAST_EVALUATIONS = 6


@rule(LOSSES)
def slow_convergence(log: Log, *, least_progress: float) -> Iterator[Finding]:
    """A loss that has not fallen by a twentieth over the whole run."""
    outcome = Outcome.of(log)
    if (
        outcome is None
        or len(outcome.loss) < LEAST_READINGS
        or not outcome.has_learned_little(least_progress)
    ):
        return
    guess = guess_loss(log)
    # A first loss may be low by chance: who ends far below a guess has learned.
    if guess is not None and outcome.final < 0.8 * guess and outcome.best_progress <= least_progress:
        return
    best = outcome.best
    has_fallen = outcome.best_progress > least_progress
    risen = outcome.risen_since()
    onset = (len(outcome.loss) - 1 if risen is None else risen) if has_fallen else 0
    yield Finding(
        rule="slow_convergence",
        severity="fault" if has_fallen else "warning",
        layer=None,
        onset_step=int(outcome.steps[onset]),
        evidence=Evidence(
            series=outcome.name,
            value=outcome.progress,
            band=f"at least {least_progress:.0%} of the initial loss gone",
            readings=len(outcome.loss) - onset,
            last_healthy_step=last_healthy(outcome.steps, onset),
            text=(
                f"The loss is {outcome.initial:.4g} at the start and {_number(outcome.final)} in the end"
                + (
                    f"; its best, {outcome.smooth[best]:.4g}, is at step {outcome.steps[best]}."
                    if onset
                    else "."
                )
            ),
        ),
        why="Nothing that lasts is learned: what the other findings say is usually why.",
        fix=(
            "Follow the findings above; if there is none, check that inputs and labels belong together, "
            "and whether the network can fit a single batch."
        ),
        confidence=0.6,
        references=("Criterion of 5 %: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022",),
    )


@rule(LOSSES)
def too_few_steps(log: Log, *, least_steps: float, most_kept: float) -> Iterator[Finding]:
    """A run that ended after a handful of steps, while its loss was still falling and much was left of it."""
    outcome = Outcome.of(log)
    steps = int(log.steps[-1]) + 1
    if outcome is None or log.state == "live" or steps >= least_steps or not is_short(log):
        return
    if outcome.steps[-1] < log.steps[-1]:
        # It was not heard to its end, as in evaluation mode.
        return
    series = validation_of(log, VALIDATION_LOSSES)
    name, values = (
        (series.name, series.values[:, 0])
        if series is not None and len(series.steps) >= LEAST_EVALUATIONS
        else (outcome.name, outcome.loss)
    )
    middle, end = float(np.median(values[_middle(len(values))])), float(np.median(values[-3:]))
    # Zero, below it, or beyond all numbers, nothing falls any more, or there is another fault to tell.
    if not 0 <= end <= most_kept * middle < np.inf or not middle > 0:
        return
    yield Finding(
        rule="too_few_steps",
        severity="warning",
        layer=None,
        onset_step=None,
        evidence=Evidence(
            series=name,
            value=float(steps),
            band=f"at least {least_steps:g} steps, or a loss that has stopped falling",
            readings=len(outcome.loss),
            last_healthy_step=None,
            text=(
                f"The run ended after {steps} steps, and its loss was still falling: from {middle:.4g} in the middle "
                f"to {end:.4g} in the end."
            ),
        ),
        why="A step moves a weight by a thousandth of its size or so: in so few the network has hardly left its start.",
        fix="Train longer, until the validation loss no longer falls; see whether the loop counts steps for passes.",
        confidence=0.8,
        references=("Karpathy et al., CS231n: ratio of weights to updates",),
    )


def _middle(count: int) -> slice:
    """Three readings about the middle."""
    return slice(max(count // 2 - 2, 0), count // 2 + 1)


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "no finite number"


@rule(LOSSES)
def converged(log: Log) -> Iterator[Finding]:
    """A state, no fault: most of the loss is gone and little changes any more."""
    outcome = Outcome.of(log)
    if outcome is None or not outcome.is_settled():
        return
    yield Finding(
        rule="converged",
        severity="note",
        layer=None,
        onset_step=None,
        evidence=Evidence(
            series=outcome.name,
            value=outcome.progress,
            band="a state, no fault",
            readings=len(outcome.loss),
            last_healthy_step=None,
            text=(
                f"The loss fell from {outcome.initial:.4g} to {outcome.final:.4g}, "
                f"and the last quarter of the run changes it by less than 5 % of where it began."
            ),
        ),
        why="The training has done its work; small gradients and small updates are what one expects now.",
        fix="Nothing. Stop here, or lower the learning rate for the last bit.",
        confidence=0.8,
    )
