"""Steps that are too long, or too short, for the weights that they move."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import rule
from diag.log import Log

WINDOW = 10
LEAST_READINGS = 10


@rule("update_ratio", LOSSES)
def learning_rate_too_high(log: Log, *, largest_ratio: float, largest_leap: float) -> Iterator[Finding]:
    """Updates above a tenth of the weights, or a learning rate that leaps, and a loss that suffers from it."""
    outcome = Outcome.of(log)
    steps, ratio = typical_update_ratio(log)
    if outcome is None or not len(steps):
        return
    leaps = _leaps(log, steps)
    hurt = (
        index
        for index in np.flatnonzero((ratio > largest_ratio) | (leaps >= largest_leap))
        if outcome.is_hurt_after(int(steps[index]), WINDOW) or _never_learns_from(outcome, int(steps[index]))
    )
    onset = next(hurt, None)
    if onset is None:
        yield from _merely_high(steps, ratio, largest_ratio)
        return
    step = int(steps[onset])
    yield Finding(
        rule="learning_rate_too_high",
        severity="fault",
        layer=None,
        onset_step=step,
        evidence=_leap(steps, ratio, leaps, int(onset), largest_leap)
        if leaps[onset] >= largest_leap
        else _long_update(steps, ratio, int(onset), largest_ratio),
        why="Each step overshoots the region in which the gradient means anything, so the loss rises.",
        fix="Divide the learning rate by three to ten, or warm it up over the first steps.",
        confidence=0.9 if leaps[onset] >= largest_leap else 0.8,
        references=(
            "Karpathy et al., CS231n: ratio of weights to updates",
            "Bounds: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022",
        ),
    )


@rule("update_ratio", LOSSES)
def learning_rate_too_low(log: Log, *, least_ratio: float) -> Iterator[Finding]:
    """Updates below a ten-thousandth of the weights, and a loss that has hardly fallen."""
    outcome = Outcome.of(log)
    steps, ratio = typical_update_ratio(log)
    known = ratio[np.isfinite(ratio)]
    if outcome is None or len(known) < LEAST_READINGS or not _has_gradient(log):
        return
    value = float(np.median(known))
    # What has died, or lies in ruins, hardly moves either; too low a rate is so from the start.
    if not max(value, np.median(known[:LEAST_READINGS])) < least_ratio or outcome.best_progress >= 0.2:
        return
    yield Finding(
        rule="learning_rate_too_low",
        severity="warning",
        layer=None,
        onset_step=int(steps[0]),
        evidence=Evidence(
            series="update_ratio",
            value=value,
            band=f"at least {least_ratio:g}",
            readings=int(np.count_nonzero(ratio < least_ratio)),
            last_healthy_step=None,
            text=(
                f"The median update is {value:.2g} of its weight over the whole run (a healthy one is about 0.001), "
                f"and {max(outcome.best_progress, 0):.0%} of the loss is gone at best."
            ),
        ),
        why="The weights hardly move: the run would need many times as many steps.",
        fix="Multiply the learning rate by three to ten until the update ratio is near 0.001.",
        confidence=0.7,
        references=(
            "Karpathy et al., CS231n: ratio of weights to updates",
            "Bounds: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022",
        ),
    )


def _leap(
    steps: NDArray[np.int64],
    ratio: NDArray[np.float64],
    leaps: NDArray[np.float64],
    onset: int,
    largest_leap: float,
) -> Evidence:
    step, healthy = int(steps[onset]), last_healthy(steps, onset)
    return Evidence(
        series="learning_rate",
        value=float(leaps[onset]),
        band=f"at most {largest_leap:g}-fold from one recorded step to the next",
        readings=int(np.count_nonzero(leaps >= largest_leap)),
        last_healthy_step=healthy,
        text=(
            f"At step {step} the learning rate is {leaps[onset]:.3g} times that of step {healthy}, the median "
            f"update is {ratio[onset]:.2g} of its weight, and the loss gets worse after it."
        ),
    )


def _long_update(
    steps: NDArray[np.int64], ratio: NDArray[np.float64], onset: int, largest_ratio: float
) -> Evidence:
    step = int(steps[onset])
    return Evidence(
        series="update_ratio",
        value=float(ratio[onset]),
        band=f"at most {largest_ratio:g}",
        readings=int(np.count_nonzero(ratio[onset:] > largest_ratio)),
        last_healthy_step=last_healthy(steps, onset),
        text=(
            f"At step {step} the median update is {ratio[onset]:.2g} of its weight (a healthy one is about "
            f"0.001), and the loss gets worse after it."
        ),
    )


def typical_update_ratio(log: Log) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps, and the median update ratio of the weight matrices at each.

    Biases and other vectors may start at zero and move by many times themselves; they count only where
    there is no matrix.
    """
    series = log.series("update_ratio")
    matrices = {parameter.name for parameter in log.model.parameters if len(parameter.shape) >= 2}
    chosen = [index for index, name in enumerate(series.columns) if name in matrices]
    values = series.values[:, chosen] if chosen else series.values
    is_number = np.isfinite(values).any(axis=1)
    ratio = np.full(len(values), np.nan)
    ratio[is_number] = np.nanmedian(values[is_number], axis=1)
    return series.steps, ratio


def _leaps(log: Log, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """By which factor the learning rate rose at each step over the recorded step before."""
    leaps = np.ones(len(steps))
    if "learning_rate" in log:
        rate = log.series("learning_rate").at(steps)[:, 0]
        positive = rate[:-1] > 0
        leaps[1:][positive] = rate[1:][positive] / rate[:-1][positive]
    return leaps


def _never_learns_from(outcome: Outcome, step: int) -> bool:
    """Whether the updates were too long from the first steps on, so that there is no better loss to lose."""
    return step <= outcome.steps[min(4, len(outcome.steps) - 1)] and outcome.has_learned_little()


def _merely_high(
    steps: NDArray[np.int64], ratio: NDArray[np.float64], largest_ratio: float
) -> Iterator[Finding]:
    high = ratio > largest_ratio
    if np.count_nonzero(high) <= len(steps) / 2:
        return
    onset = int(np.argmax(high))
    value = float(np.nanmedian(ratio[high]))
    yield Finding(
        rule="learning_rate_too_high",
        severity="note",
        layer=None,
        onset_step=int(steps[onset]),
        evidence=Evidence(
            series="update_ratio",
            value=value,
            band=f"at most {largest_ratio:g}",
            readings=int(np.count_nonzero(high)),
            last_healthy_step=last_healthy(steps, onset),
            text=f"The median update is {value:.2g} of its weight in most readings, yet the loss does not suffer.",
        ),
        why="Updates of this size leave little of what the weights were; here training copes.",
        fix="Nothing needs to change; a smaller learning rate may end at a lower loss.",
        confidence=0.5,
        references=("Karpathy et al., CS231n: ratio of weights to updates",),
    )


def _has_gradient(log: Log) -> bool:
    """Whether gradients arrive at all; where they do not, the learning rate is not to blame."""
    if "gradient_norm" not in log.names["network"]:
        return False
    return bool(np.median(log.series("gradient_norm", of="network").values) > 0)
