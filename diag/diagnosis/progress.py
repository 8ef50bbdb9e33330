"""Whether the loss goes where it should."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import rule
from diag.log import Log

LEAST_READINGS = 20


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
