"""What the optimiser does to the gradient before it is a step."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_short
from diag.log import Log

# Optimisers that divide by the root of a mean square plus an epsilon.
ADAPTIVE = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adadelta", "Adagrad"})

_CLIPPING: Mapping[str, Any] = {
    "why": "Every step then has the same length, whatever the slope: the threshold has become the learning rate.",
    "fix": "Raise the threshold to about the typical norm, and find out why gradients are large.",
    "references": ("Pascanu et al., On the difficulty of training recurrent neural networks, 2013",),
}


@rule("parameters/gradient_norm", LOSSES)
def epsilon_dominates(log: Log, *, largest_multiple: float) -> Iterator[Finding]:
    """Gradients as small as the epsilon that an adaptive optimiser divides by."""
    optimizer = next((each for each in log.model.optimizers if each.kind in ADAPTIVE), None)
    epsilon = optimizer.hyperparameters.get("eps") if optimizer else None
    if optimizer is None or not isinstance(epsilon, int | float) or epsilon <= 0:
        return
    series = log.series("gradient_norm", of="parameters")
    sizes = [p for p in log.model.parameters if len(p.shape) >= 2 and p.name in series.columns]
    if not sizes:
        return
    each = [series.column(parameter.name) / np.sqrt(np.prod(parameter.shape)) for parameter in sizes]
    multiple = np.median(np.stack(each), axis=0) / epsilon
    onset = begins_to_last(multiple < largest_multiple, least=5)
    # Gradients that are exactly zero have another reason.
    if onset is None or np.median(multiple[onset:]) == 0:
        return
    step = int(series.steps[onset])
    yield Finding(
        rule="epsilon_dominates",
        severity="warning" if is_short(log) else "note",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series="gradient_norm",
            value=float(np.median(multiple[onset:])),
            band=f"at least {largest_multiple:g} times epsilon",
            readings=len(multiple) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=(
                f"Since step {step} an entry of the typical weight's gradient is {np.median(multiple[onset:]):.2g} "
                f"times {optimizer.kind}'s epsilon of {epsilon:g}."
            ),
        ),
        why="Where epsilon outweighs the gradient, steps shrink with it, and nothing is adapted any more.",
        fix="Make epsilon smaller than the gradient by a hundred times or more.",
        confidence=0.7,
        references=(
            "Wortsman et al., Small-scale proxies for large-scale Transformer training instabilities, 2023",
        ),
    )


@rule("network/gradient_norm", LOSSES)
def clipping_always_active(log: Log, *, largest_share: float, largest_scatter: float) -> Iterator[Finding]:
    """Gradients that are clipped at nearly every step."""
    if "gradient_norm_before_clipping" not in log:
        yield from _of_one_norm(log, largest_share, largest_scatter)
        return
    series = log.series("gradient_norm_before_clipping")
    before = series.values[:, 0]
    after = log.series("gradient_norm", of="network").at(series.steps)[:, 0]
    known = np.isfinite(before) & np.isfinite(after)
    is_clipped = before[known] > after[known] * (1 + 1e-3)
    if len(is_clipped) < 10 or not is_clipped.mean() > largest_share:
        return
    factor = float(np.median(after[known] / before[known]))
    yield Finding(
        rule="clipping_always_active",
        severity="warning" if factor < 0.1 and is_short(log) else "note",
        layer=None,
        onset_step=int(series.steps[known][np.argmax(is_clipped)]),
        evidence=Evidence(
            series=series.name,
            value=float(is_clipped.mean()),
            band=f"at most {largest_share:.0%} of readings clipped",
            readings=int(np.count_nonzero(is_clipped)),
            last_healthy_step=None,
            text=(
                f"{is_clipped.mean():.0%} of the recorded gradients are clipped, typically to {factor:.2g} of "
                f"their norm."
            ),
        ),
        confidence=0.6,
        **_CLIPPING,
    )


def _of_one_norm(log: Log, largest_share: float, largest_scatter: float) -> Iterator[Finding]:
    """Where the norm before clipping was not heard: one that is the same to the last digits is the threshold."""
    series = log.series("gradient_norm", of="network")
    norm = series.values[:, 0]
    middle = float(np.nanmedian(norm)) if np.isfinite(norm).any() else 0.0
    is_clipped = np.abs(norm - middle) <= largest_scatter * middle
    if len(norm) < 10 or not middle > 0 or not is_clipped.mean() > largest_share:
        return
    yield Finding(
        rule="clipping_always_active",
        severity="warning" if is_short(log) else "note",
        layer=None,
        onset_step=int(series.steps[np.argmax(is_clipped)]),
        evidence=Evidence(
            series=series.name,
            value=middle,
            band=f"at most {largest_share:.0%} of readings at one norm",
            readings=int(np.count_nonzero(is_clipped)),
            last_healthy_step=None,
            text=f"{is_clipped.mean():.0%} of the recorded gradients have one norm, {middle:.3g}: the clip's.",
        ),
        confidence=0.7,
        **_CLIPPING,
    )
