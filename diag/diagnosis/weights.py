"""Weights that grow without end."""

from collections.abc import Iterator

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


def growths(log: Log) -> dict[str, NDArray[np.float64]]:
    """By weight matrix that does not start at zero, its norm over the first."""
    norms = log.series("weight_norm")
    matrices = [p.name for p in log.model.parameters if len(p.shape) >= 2 and p.name in norms.columns]
    return {
        name: norms.column(name) / norms.column(name)[0] for name in matrices if norms.column(name)[0] > 0
    }
