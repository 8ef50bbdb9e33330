"""Weights that grow without end, or are held too small to learn."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_impaired
from diag.log import Log


@rule("weight_norm", LOSSES)
def weight_blow_up(log: Log, *, largest_growth: float) -> Iterator[Finding]:
    """Weight matrices that grow to many times what they were."""
    growth = growths(log)
    grown = {name: begins_to_last(~(values <= largest_growth)) for name, values in growth.items()}
    onsets = {name: onset for name, onset in grown.items() if onset is not None}
    if not onsets:
        return
    steps = log.series("weight_norm").steps
    name = min(onsets, key=lambda name: onsets[name])
    onset, step = onsets[name], int(steps[onsets[name]])
    yield Finding(
        rule="weight_blow_up",
        severity="fault" if is_impaired(log, step) else "note",
        layer=next(parameter.layer for parameter in log.model.parameters if parameter.name == name),
        onset_step=step,
        evidence=Evidence(
            series="weight_norm",
            value=float(growth[name][-1]),
            band=f"at most {largest_growth:g} times the first",
            readings=len(steps) - onset,
            last_healthy_step=last_healthy(steps, onset),
            text=(
                f"Since step {step} the norm of {name!r} is more than {largest_growth:g} times its first, in the end "
                f"{growth[name][-1]:.3g} times; {len(onsets)} of {len(growth)} weight matrices grew so."
            ),
        ),
        why="Outputs and gradients grow with the weights, until units saturate or numbers overflow.",
        fix="Lower the learning rate, clip the gradient's norm, or add weight decay.",
        confidence=0.7,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: diverging weights",),
    )


@rule("weight_norm", LOSSES)
def over_regularized(log: Log, *, least_left: float) -> Iterator[Finding]:
    """Weights that shrink to a fraction of what they were, and a loss that stays high."""
    growth = growths(log)
    if not growth:
        return
    typical = np.median(np.stack(list(growth.values())), axis=0)
    onset = begins_to_last(typical < least_left)
    if onset is None or not is_impaired(log):
        return
    steps = log.series("weight_norm").steps
    decay = max((_decay(optimizer.hyperparameters) for optimizer in log.model.optimizers), default=0.0)
    # The pull is there from the first step on, whenever the weights have yielded to it.
    yield Finding(
        rule="over_regularized",
        severity="fault",
        layer=None,
        onset_step=int(steps[0]),
        evidence=Evidence(
            series="weight_norm",
            value=float(typical[-1]),
            band=f"at least {least_left:g} of the first",
            readings=len(steps) - onset,
            last_healthy_step=last_healthy(steps, onset),
            text=(
                f"The typical weight matrix shrinks to {typical[-1]:.2g} of its first norm, below {least_left:g} "
                f"since step {steps[onset]}" + (f", under a weight decay of {decay:g}." if decay else ".")
            ),
        ),
        why="The penalty pulls harder than the data: weights go to zero and take what was learned with them.",
        fix="Divide the weight decay, or the penalty in the loss, by ten or more.",
        confidence=0.85 if decay else 0.6,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: over-regularisation",),
    )


def growths(log: Log) -> dict[str, NDArray[np.float64]]:
    """By weight matrix that does not start at zero, its norm over the first."""
    norms = log.series("weight_norm")
    matrices = [p.name for p in log.model.parameters if len(p.shape) >= 2 and p.name in norms.columns]
    return {
        name: norms.column(name) / norms.column(name)[0] for name in matrices if norms.column(name)[0] > 0
    }


def _decay(hyperparameters: Mapping[str, Any]) -> float:
    value = hyperparameters.get("weight_decay", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
