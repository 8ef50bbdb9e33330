"""Units that have stopped working."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding, Severity
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy, lasting
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import head_of, is_impaired, is_short, severity_of
from diag.log import Log


@rule("dead_unit_rate_pooled", "dead_unit_rate")
def dead_units(log: Log, *, most_dead: float, all_dead: float, most_left: float) -> Iterator[Finding]:
    """Units of a rectifying layer that no example of the last thousand makes fire."""
    pooled, batch = log.series("dead_unit_rate_pooled"), log.series("dead_unit_rate")
    for column, layer in enumerate(pooled.columns):
        rate = pooled.values[:, column]
        alarm = begins_to_last(rate > most_dead)
        if alarm is None:
            continue
        onset = _onset(batch.values[:, batch.columns.index(layer)], float(rate[alarm:].min()))
        step = int(pooled.steps[onset])
        healthy = last_healthy(pooled.steps, onset)
        since = (
            "from the first recorded step"
            if healthy is None
            else f"since step {step}, not yet at step {healthy}"
        )
        yield Finding(
            rule="dead_units",
            severity=_severity(log, step, bool(rate[-1] >= all_dead), most_left),
            layer=layer,
            onset_step=step,
            evidence=Evidence(
                series="dead_unit_rate_pooled",
                value=float(rate[-1]),
                band=f"at most {most_dead:g}",
                readings=len(rate) - alarm,
                last_healthy_step=healthy,
                text=(
                    f"{rate[-1]:.0%} of the units of layer {layer!r} fire for none of the last "
                    f"1,000 examples, {since}."
                ),
            ),
            why=(
                "A rectified unit that is zero for every example passes no gradient back: "
                "neither it nor what feeds it alone learns again."
            ),
            fix=(
                "Lower the learning rate (or warm it up), check the layer's biases and its initialisation "
                "(He for ReLU), or use a nonlinearity that does not die, such as leaky ReLU or GELU."
            ),
            confidence=0.9,
            references=(
                "Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733",
                "Threshold: more than half of a layer's units, as in Amazon SageMaker Debugger's DeadRelu",
            ),
        )


def _onset(batch_rate: NDArray[np.float64], pooled_rate: float) -> int:
    """Index of the first step of the unbroken run, up to the end, in which each batch shows as many dead.

    The pooled rate lags by its window; each single batch of the window shows at least the pooled rate.
    """
    start = begins_to_last(batch_rate >= pooled_rate - 1e-9, least=1)
    return len(batch_rate) - 1 if start is None else start


def first_death(log: Log) -> int | None:
    """The step since which some layer has no unit that fires, which lets nothing through; None if all have."""
    if "dead_unit_rate" not in log:
        return None
    series = log.series("dead_unit_rate")
    onsets = (begins_to_last(rate >= 1, least=1) for rate in series.values.T)
    return min((int(series.steps[onset]) for onset in onsets if onset is not None), default=None)


def _severity(log: Log, step: int, is_all: bool, most_left: float) -> Severity:
    outcome = Outcome.of(log)
    if is_all:
        # Nothing passes such a layer, forward or back, whatever the loss says.
        return "fault"
    if outcome is None:
        return "warning"
    if outcome.has_learned_little() or outcome.is_hurt_after(step):
        return "fault"
    return "warning" if is_short(log, most_left) else "note"


@rule("saturation_rate")
def saturated_units(log: Log, *, most_saturated: float) -> Iterator[Finding]:
    """Hidden sigmoid-like layers most of whose outputs are at an end, where hardly any gradient passes."""
    series = log.series("saturation_rate")
    head = head_of(log)
    for name in series.columns:
        rate = series.column(name)
        onset = begins_to_last(rate > most_saturated, least=5)
        # A classifier that is sure of itself ends in a saturated layer.
        if onset is None or (head is not None and name == head.name):
            continue
        step = int(series.steps[onset])
        value = float(np.median(rate[onset:]))
        yield Finding(
            rule="saturated_units",
            severity=severity_of(log, step),
            layer=name,
            onset_step=step,
            evidence=Evidence(
                series="saturation_rate",
                value=value,
                band=f"at most {most_saturated:g}",
                readings=len(rate) - onset,
                last_healthy_step=last_healthy(series.steps, onset),
                text=f"Since step {step} {value:.0%} of the outputs of layer {name!r} are at an end of their range.",
            ),
            why="At its ends the nonlinearity is flat: hardly any gradient passes, and what feeds it stands still.",
            fix=(
                "Draw the weights smaller (Xavier's initialisation), normalise what comes in, or use a nonlinearity "
                "that does not flatten out on both sides."
            ),
            confidence=0.8,
            references=(
                "Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, 2010",
                "Threshold: more than half of a layer, as in Amazon SageMaker Debugger's SaturatedActivation",
            ),
        )


@rule("dormant_unit_rate", "dead_unit_rate", LOSSES)
def dormant_units(log: Log, *, most_dormant: float, least_growth: float) -> Iterator[Finding]:
    """Units that still fire, but so faintly beside the others of their layer that they say next to nothing."""
    series = log.series("dormant_unit_rate").known()
    if not len(series.steps):
        raise NotAssessableError("no look at the probe batch gave a number of dormant units")
    dead = log.series("dead_unit_rate").at(series.steps)
    for name in series.columns:
        rate = series.column(name)
        # Where most are dead, dead_units says so. Sparse codes begin sparse; what counts is that it grows.
        has_died = dead[:, log.series("dead_unit_rate").columns.index(name)] > most_dormant
        spell = lasting((rate > most_dormant) & ~has_died & (rate - rate[0] >= least_growth), series.steps)
        if spell is None:
            continue
        yield Finding(
            rule="dormant_units",
            severity="warning" if is_impaired(log, spell.step) else "note",
            layer=name,
            onset_step=spell.step,
            evidence=Evidence(
                series="dormant_unit_rate",
                value=float(rate[-1]),
                band=f"at most {most_dormant:g}, or less than {least_growth:g} above the first look",
                readings=spell.readings,
                last_healthy_step=spell.last_healthy_step,
                text=(
                    f"On the probe batch {rate[-1]:.0%} of the units of layer {name!r} are dormant, {rate[0]:.0%} at "
                    f"the first look; most of them are not dead."
                ),
            ),
            why="Little of the layer is in use: the network loses the room in which it could learn more.",
            fix="Lower the learning rate, add normalisation or weight decay, or reset the dormant units now and then.",
            confidence=0.6,
            references=(
                "Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, 2023, arXiv:2302.12902",
            ),
        )
