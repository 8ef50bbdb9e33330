"""What the criterion gives away by itself."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import column, criterion_of, is_impaired
from diag.log import Log


@rule("batch_size", "criterion_loss")
def sum_reduction(log: Log) -> Iterator[Finding]:
    """A criterion that adds up the examples' losses, so that steps grow with the batch, and a training that fails."""
    criterion, outcome = criterion_of(log), Outcome.of(log)
    if criterion is None:
        raise NotAssessableError("the log does not say which criterion was watched")
    if criterion.reduction != "sum" or outcome is None:
        return
    batch = float(np.nanmedian(column(log, "batch_size")))
    is_hurt = is_impaired(log) or outcome.has_slipped_back()
    yield Finding(
        rule="sum_reduction",
        severity="warning" if is_hurt else "note",
        layer=None,
        onset_step=int(outcome.steps[0]),
        evidence=Evidence(
            series="criterion_loss",
            value=outcome.initial,
            band='a criterion of reduction "mean"',
            readings=len(outcome.steps),
            last_healthy_step=None,
            text=f"The criterion, a {criterion.kind}, adds up the losses of a batch, which has {batch:g} examples.",
        ),
        why="Loss and gradients are as many times larger as the batch has examples: so is every step of SGD.",
        fix='Use reduction="mean", or divide the learning rate by the size of the batch.',
        confidence=0.85 if is_hurt else 0.5,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: poor reduction of the loss",),
    )
