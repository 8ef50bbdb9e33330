"""What the description of the network and its criterion gives away by itself."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
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


@rule(LOSSES)
def hidden_softmax(log: Log) -> Iterator[Finding]:
    """A softmax in the midst of the network, where its units compete for a sum of one, and a training that fails."""
    layers = [layer for layer in log.model.layers if layer.output_shape]
    trained = [place for place, layer in enumerate(layers) if layer.parameters]
    # Over several positions a softmax is attention's own.
    hidden = [
        layer
        for place, layer in enumerate(layers)
        if layer.kind == "Softmax" and len(layer.output_shape) == 1 and trained and place < trained[-1]
    ]
    outcome = Outcome.of(log)
    if not hidden or outcome is None:
        return
    yield Finding(
        rule="hidden_softmax",
        severity="warning" if is_impaired(log) else "note",
        layer=hidden[0].name,
        onset_step=int(outcome.steps[0]),
        evidence=Evidence(
            series=outcome.name,
            value=outcome.final,
            band="a softmax at the end alone",
            readings=len(outcome.steps),
            last_healthy_step=None,
            text=f"Layer {hidden[0].name!r} is a softmax over {hidden[0].output_shape[0]} units, and layers follow it.",
        ),
        why="Its outputs sum to one: with many units each is near zero, and so is every gradient through them.",
        fix="Use a ReLU or one of its kind between layers; a softmax belongs to the end, or into the criterion.",
        confidence=0.7,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022", "Schoop et al., UMLAUT, CHI 2021"),
    )
