"""What is meant to keep a network from learning by heart, and keeps it from learning."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from diag.diagnosis.findings import Evidence, Finding, Severity
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_short, layers_that_ran, severity_of
from diag.diagnosis.weights import growths
from diag.log import Log

DROPPING = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")
# Of the mean, in the size of what comes in; and a rate that is hardly any.
LARGEST_SHIFT = 0.1
LEAST_RATE = 0.03
REFERENCES = ("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: over-regularisation",)


@rule("weight_norm", LOSSES)
def over_regularized(log: Log, *, least_left: float, largest_dropout: float) -> Iterator[Finding]:
    """Weights that shrink to a fraction of what they were, or dropout of most units, and a loss that stays high."""
    severity = severity_of(log)
    if severity != "note":
        yield from _by_decay(log, severity, least_left)
    if is_short(log):
        yield from _by_dropout(log, severity, largest_dropout)


def _by_decay(log: Log, severity: Severity, least_left: float) -> Iterator[Finding]:
    growth = growths(log)
    if not growth:
        return
    typical = np.median(np.stack(list(growth.values())), axis=0)
    onset = begins_to_last(typical < least_left)
    if onset is None:
        return
    steps = log.series("weight_norm").steps
    decay = max((_decay(optimizer.hyperparameters) for optimizer in log.model.optimizers), default=0.0)
    # The pull is there from the first step on, whenever the weights have yielded to it.
    yield Finding(
        rule="over_regularized",
        severity=severity,
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
        references=REFERENCES,
    )


def _by_dropout(log: Log, severity: Severity, largest: float) -> Iterator[Finding]:
    rates = {name: rate for name, rate in dropout_rates(log).items() if rate > largest}
    if not rates:
        return
    layer = max(rates, key=lambda name: rates[name])
    yield Finding(
        rule="over_regularized",
        severity=severity,
        layer=layer,
        onset_step=int(log.steps[0]),
        evidence=Evidence(
            series="activation_rms",
            value=rates[layer],
            band=f"a rate of at most {largest:g}",
            readings=len(log.steps),
            last_healthy_step=None,
            text=(
                f"By what it does to the size of its input, layer {layer!r} drops about {rates[layer]:.0%} of the "
                f"entries; so many are dropped in {len(rates)} of {len(dropout_rates(log))} layers that tell."
            ),
        ),
        why="What few entries are left, enlarged, are mostly noise to the layers that follow.",
        fix="Lower the dropout's rate to between 0.1 and 0.5.",
        confidence=0.8,
        references=(
            "Schoop et al., UMLAUT: Debugging Deep Learning Programs using Program Structure, CHI 2021",
        ),
    )


def dropout_rates(log: Log) -> dict[str, float]:
    """By dropout layer, its rate, where what comes in was recorded.

    Entries that are kept are divided by 1 - p, so the mean stays and the mean square grows by that. Where the mean
    does not stay, or what ran before belongs to another part of the model, something else came in: a residual sum.
    """
    if "activation_rms" not in log or "activation_mean" not in log:
        return {}
    sizes, means = log.series("activation_rms"), log.series("activation_mean")
    layers = [layer for layer in log.model.layers if layer.name in sizes.columns]
    rates = {}
    for before, layer in pairwise(layers):
        is_fed = before.output_shape == layer.output_shape and _parent(before.name) == _parent(layer.name)
        size, after = sizes.column(before.name), sizes.column(layer.name)
        known = np.isfinite(size) & np.isfinite(after) & (size > 0) & (after > 0)
        if layer.kind not in DROPPING or not is_fed or not known.any():
            continue
        shift = (means.column(layer.name) - means.column(before.name))[known] / size[known]
        # Which entries are dropped moves the mean to and fro; over many steps that evens out.
        if abs(np.mean(shift)) < LARGEST_SHIFT:
            rates[layer.name] = float(1 - np.median((size[known] / after[known]) ** 2))
    return rates


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def has_dropout(log: Log) -> bool:
    """Whether dropout takes part: as far as is known, none of its layers has a rate of zero."""
    layers = [layer.name for layer in layers_that_ran(log) if layer.kind in DROPPING]
    rates = dropout_rates(log)
    return bool(layers) and not (rates and all(rate < LEAST_RATE for rate in rates.values()))


def _decay(hyperparameters: Mapping[str, Any]) -> float:
    value = hyperparameters.get("weight_decay", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
