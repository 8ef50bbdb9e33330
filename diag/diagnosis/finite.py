"""Values that are no numbers."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import rule
from diag.log import Log, Series


@rule("activation_non_finite_count", "gradient_non_finite_count")
def non_finite(log: Log) -> Iterator[Finding]:
    """NaN or infinity in an activation or a gradient, and the layer where it appears first."""
    forward = log.series("activation_non_finite_count")
    backward = log.series("gradient_non_finite_count")
    starts = [step for step in (_first(forward), _first(backward)) if step is not None]
    if not starts:
        return
    onset = min(starts)
    layer, series, count = _origin(log, forward, backward, onset)
    has_spread = _has_spread(log, onset)
    index = int(np.searchsorted(series.steps, onset))
    healthy = last_healthy(series.steps, index)
    bad = int(np.count_nonzero(np.nansum(forward.values, axis=1) > 0))
    yield Finding(
        rule="non_finite",
        severity="fault",
        layer=None if has_spread else layer,
        onset_step=onset,
        evidence=Evidence(
            series=series.name,
            value=count,
            band="0",
            readings=max(bad, 1),
            last_healthy_step=healthy,
            text=_sentence(log, layer, series, count, onset, healthy, has_spread),
        ),
        why=(
            "A NaN spreads through every sum that it enters: one step later it is in every weight, "
            "and nothing that follows is learned."
        ),
        fix=(
            "Look at what feeds this layer at this step: a division by zero, a logarithm or root of a number "
            "that is not positive, corrupt data, or weights that grew too large. Lower the learning rate or clip "
            "the gradients if weights grew; start again from a checkpoint taken before the onset."
        ),
        confidence=0.5 if has_spread else 0.95,
        references=("IEEE 754-2019, section 6.2 (propagation of NaN)",),
    )


def _first(series: Series) -> int | None:
    rows = np.flatnonzero(np.nansum(series.values, axis=1) > 0)
    return int(series.steps[rows[0]]) if rows.size else None


def _origin(log: Log, forward: Series, backward: Series, onset: int) -> tuple[str | None, Series, float]:
    """The layer where it began: the first on the way forward, else the first on the way back."""
    counts = forward.values[forward.steps == onset].sum(axis=0)
    sick = [name for name, count in zip(forward.columns, counts, strict=True) if count > 0]
    if sick:
        return sick[0], forward, float(counts[forward.columns.index(sick[0])])
    counts = backward.values[backward.steps == onset].sum(axis=0)
    owners = {parameter.name: parameter.layer for parameter in log.model.parameters}
    depth = {layer.name: position for position, layer in enumerate(log.model.layers)}
    sick = [name for name, count in zip(backward.columns, counts, strict=True) if count > 0]
    nearest = max(sick, key=lambda name: depth.get(owners.get(name, ""), -1))
    return owners.get(nearest), backward, float(counts[backward.columns.index(nearest)])


def _has_spread(log: Log, onset: int) -> bool:
    """Whether the first recorded step with a NaN finds it in every weight already, so that its origin is lost."""
    if "weight_norm" not in log:
        return False
    norms = log.series("weight_norm")
    row = norms.values[norms.steps == onset]
    return row.size > 0 and not np.isfinite(row).any()


def _sentence(
    log: Log,
    layer: str | None,
    series: Series,
    count: float,
    onset: int,
    healthy: int | None,
    has_spread: bool,
) -> str:
    what = "activation" if series.name.startswith("activation") else "gradient"
    before = "this is the first recorded step" if healthy is None else f"step {healthy} was still finite"
    text = f"At step {onset}, {count:,.0f} entries of the {what} of layer {layer!r} are not finite; {before}."
    if has_spread:
        text += (
            " All weights are infected by then: it began at an unrecorded step before, "
            "and where cannot be told; record every step to see it."
        )
    elif "input_mean" in log:
        entry = log.series("input_mean")
        if not np.isfinite(entry.values[entry.steps == onset]).all():
            text += " The network's input is not finite either: look at the data first."
    return text
