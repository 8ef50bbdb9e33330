"""Steps that are too long, or too short, for the weights that they move."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.stability import PRECONDITIONED, sharpness_name, sharpness_over_threshold
from diag.diagnosis.task import does_well, is_short, training_left
from diag.diagnosis.units import first_death
from diag.log import Log

WINDOW = 10
# So far beyond what it can hold, a training would be lost at once. Where it goes on, the preconditioner has blown
# up a direction without a gradient, such as a bias before a batch normalisation.
INCREDIBLE = 100
LEAST_READINGS = 10


@rule("update_ratio", LOSSES)
def learning_rate_too_high(
    log: Log, *, largest_ratio: float, largest_leap: float, least_leap_ratio: float, largest_sharpness: float
) -> Iterator[Finding]:
    """Updates above a tenth of the weights, a rate that leaps or that curvature forbids, and a loss that suffers."""
    outcome = Outcome.of(log)
    steps, ratio = typical_update_ratio(log)
    if outcome is None or not len(steps):
        return
    # A rate that leaps while it warms up moves little.
    leaps = np.where(ratio >= least_leap_ratio, _leaps(log, steps), 1.0)
    found = None
    # What has done well in the end has not been hurt.
    if not does_well(log):
        found = _too_long(outcome, steps, ratio, leaps, largest_ratio, largest_leap)
        found = found or _too_sharp(log, outcome, largest_sharpness)
    if found is None:
        leapt = _leapt(log, steps, ratio, leaps, largest_leap)
        yield from leapt or _diverged(log, outcome) or _merely_high(steps, ratio, largest_ratio)
        return
    step, evidence = found
    yield Finding(
        rule="learning_rate_too_high",
        severity="fault",
        layer=None,
        onset_step=step,
        evidence=evidence,
        why="Each step overshoots the region in which the gradient means anything, so the loss rises.",
        fix="Divide the learning rate by three to ten, or warm it up over the first steps.",
        confidence=0.9 if evidence.series == "learning_rate" else 0.8,
        references=(
            "Karpathy et al., CS231n: ratio of weights to updates",
            "Bounds: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022",
        ),
    )


def _first_harm(
    outcome: Outcome, steps: NDArray[np.int64], is_suspect: NDArray[np.bool_], window: int | None
) -> int | None:
    """Index of the first suspect step after which the loss suffers."""
    fails = outcome.has_learned_little()
    for index in np.flatnonzero(is_suspect).tolist():
        step = int(steps[index])
        # Too long from the first steps on, so that there is no better loss to lose.
        is_early = step <= outcome.steps[min(4, len(outcome.steps) - 1)]
        if outcome.is_hurt_after(step, window) or (is_early and fails):
            return index
    return None


def _too_long(
    outcome: Outcome,
    steps: NDArray[np.int64],
    ratio: NDArray[np.float64],
    leaps: NDArray[np.float64],
    largest_ratio: float,
    largest_leap: float,
) -> tuple[int, Evidence] | None:
    """Step and evidence where updates were too long, or the learning rate leapt, and the loss suffered."""
    index = _first_harm(outcome, steps, (ratio > largest_ratio) | (leaps >= largest_leap), WINDOW)
    if index is None:
        return None
    if leaps[index] >= largest_leap:
        return int(steps[index]), _leap(steps, ratio, leaps, index, largest_leap)
    index = _first_of_row(ratio > largest_ratio, index)
    return int(steps[index]), _long_update(steps, ratio, index, largest_ratio)


def _too_sharp(log: Log, outcome: Outcome, largest: float) -> tuple[int, Evidence] | None:
    """Step and evidence where the curvature was far beyond what the optimiser can hold, and the loss suffered."""
    if "stability_threshold" not in log or sharpness_name(log) not in log:
        return None
    steps, ratio = sharpness_over_threshold(log)
    if sharpness_name(log) == PRECONDITIONED:
        ratio = np.where(ratio < INCREDIBLE, ratio, np.nan)
    # A catapult goes beyond and comes back by itself: only harm that stays tells against the learning rate.
    index = _first_harm(outcome, steps, ratio > largest, window=None)
    if index is None:
        return None
    step = int(steps[index])
    text = (
        f"At step {step} the largest eigenvalue of the Hessian, as the optimiser sees it, is {ratio[index]:.3g} "
        f"times what it can hold at this learning rate, and the loss gets worse after it."
    )
    readings = int(np.count_nonzero(ratio > largest))
    band = f"at most {largest:g} times the stability threshold"
    healthy = last_healthy(steps, index)
    return step, Evidence(sharpness_name(log), float(ratio[index]), band, readings, healthy, text)


@rule("update_ratio", LOSSES)
def learning_rate_too_low(
    log: Log,
    *,
    least_ratio: float,
    least_of_peak: float,
    faint_ratio: float,
    most_left: float,
    least_kept: float,
) -> Iterator[Finding]:
    """Updates far too small for a loss that has hardly fallen, or a schedule that takes the rate away too soon."""
    decayed = _decayed(log, least_of_peak)
    if decayed is not None:
        yield decayed
        return
    outcome = Outcome.of(log)
    steps, ratio = typical_update_ratio(log)
    known = ratio[np.isfinite(ratio)]
    if outcome is None or len(known) < LEAST_READINGS or not _has_gradient(log):
        return
    withered = _withered(log, steps, least_kept)
    if withered is not None:
        yield withered
        return
    value = float(np.median(known))
    # What has died, or lies in ruins, hardly moves either; too low a rate is so from the start.
    typical = max(value, float(np.median(known[:LEAST_READINGS])))
    is_stuck = typical < least_ratio and outcome.best_progress < 0.2
    left = training_left(log)
    # A schedule that ends at nothing takes its longer steps before.
    longer = max(typical, float(np.percentile(known, 75)))
    is_slow = longer < faint_ratio and left is not None and left > most_left and not outcome.is_settled()
    if not is_stuck and not is_slow:
        return
    bound = least_ratio if is_stuck else faint_ratio
    yield Finding(
        rule="learning_rate_too_low",
        severity="warning",
        layer=None,
        onset_step=int(steps[0]),
        evidence=Evidence(
            series="update_ratio",
            value=value,
            band=f"at least {bound:g}",
            readings=int(np.count_nonzero(ratio < bound)),
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


def _first_of_row(is_long: NDArray[np.bool_], index: int) -> int:
    """The first long update of those that led up to one after which the loss got worse."""
    before = np.flatnonzero(is_long[max(index - WINDOW, 0) : index + 1])
    return max(index - WINDOW, 0) + int(before[0])


def _leapt(
    log: Log,
    steps: NDArray[np.int64],
    ratio: NDArray[np.float64],
    leaps: NDArray[np.float64],
    largest_leap: float,
) -> list[Finding]:
    """A rate that leaps far beyond what it ever was, in a training that falls short without getting worse at once."""
    beyond = leaps >= largest_leap
    if "learning_rate" in log:
        rate = log.series("learning_rate").at(steps)[:, 0]
        # A schedule that starts anew goes back to a rate that it had before.
        beyond[1:] &= rate[1:] >= largest_leap * np.fmax.accumulate(rate)[:-1]
    if not beyond.any() or not is_short(log):
        return []
    onset = int(np.argmax(beyond))
    return [
        Finding(
            rule="learning_rate_too_high",
            severity="warning",
            layer=None,
            onset_step=int(steps[onset]),
            evidence=_leap(steps, ratio, leaps, onset, largest_leap),
            why="What was learned in steps of one size is not kept in steps so much longer.",
            fix="See whether the schedule, or a resumed run, sets the rate that it should.",
            confidence=0.7,
        )
    ]


def _diverged(log: Log, outcome: Outcome) -> list[Finding]:
    """A loss that had come down by far and is lost again, in steps that are not even long: they add up."""
    if not (outcome.has_slipped_back(0.3) and outcome.best_progress >= 0.5) or not np.isfinite(outcome.final):
        return []
    best, onset = outcome.best, outcome.risen_since()
    if onset is None:
        return []
    step = int(outcome.steps[onset])
    died = first_death(log)
    # What nothing passes any more loses the loss by itself, whatever the steps are.
    if died is not None and died <= step:
        return []
    return [
        Finding(
            rule="learning_rate_too_high",
            severity="fault",
            layer=None,
            onset_step=step,
            evidence=Evidence(
                series=outcome.name,
                value=outcome.final,
                band=f"near the best, {outcome.smooth[best]:.4g}",
                readings=len(outcome.loss) - onset,
                last_healthy_step=last_healthy(outcome.steps, onset),
                text=(
                    f"The loss was {outcome.smooth[best]:.4g} at step {outcome.steps[best]} and is "
                    f"{outcome.final:.4g} in the end, after {outcome.initial:.4g} at the start: it is lost again."
                ),
            ),
            why="Steps that overshoot throw the weights out of the valley that they had found.",
            fix="Lower the learning rate or the momentum, or clip the gradient's norm.",
            confidence=0.5,
            references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: diverging loss",),
        )
    ]


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
            f"At step {step} the learning rate is {leaps[onset]:.3g} times that of step {healthy}, and the median "
            f"update is {ratio[onset]:.2g} of its weight."
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
    """By which factor the learning rate rose at each step over the recorded step before; 1 while it warms up."""
    leaps = np.ones(len(steps))
    if "learning_rate" in log:
        rate = log.series("learning_rate").at(steps)[:, 0]
        positive = rate[:-1] > 0
        leaps[1:][positive] = rate[1:][positive] / rate[:-1][positive]
        # The first steps of a warm-up differ by whole multiples, and there is nothing yet to lose.
        leaps[1:][np.logical_and.accumulate(np.diff(rate) > 0)] = 1.0
        leaps[:2] = 1.0
    return leaps


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


def _withered(log: Log, steps: NDArray[np.int64], least: float) -> Finding | None:
    """Adagrad's own decay: it divides by all gradients that it has seen, so that its steps shrink for good."""
    if "update_norm" not in log or not is_short(log, 0.2):
        return None
    if not any(each.kind == "Adagrad" for each in log.model.optimizers):
        return None
    updates, gradients = log.series("update_norm"), log.series("gradient_norm", of="network")
    pushed = gradients.at(updates.steps)[:, 0]
    reach = np.sqrt(np.nansum(updates.values**2, axis=1)) / np.where(pushed > 0, pushed, np.nan)
    reach = reach[np.isfinite(reach) & (reach > 0)]
    if len(reach) < LEAST_READINGS:
        return None
    kept = float(np.median(reach[-max(len(reach) // 10, 3) :]) / np.median(reach[:3]))
    if not kept < least:
        return None
    return Finding(
        rule="learning_rate_too_low",
        severity="warning",
        layer=None,
        onset_step=int(steps[0]),
        evidence=Evidence(
            series="update_norm",
            value=kept,
            band=f"at least {least:g} of the first steps, for gradients of one size",
            readings=len(reach),
            last_healthy_step=None,
            text=f"For a gradient of one size the steps are in the end {kept:.2g} times what they were at first.",
        ),
        why="Adagrad divides by the root of the sum of all squared gradients so far, which only grows.",
        fix="Use Adam or RMSprop, which forget old gradients, or raise the learning rate several times.",
        confidence=0.7,
        references=("Zeiler, ADADELTA, 2012, arXiv:1212.5701: the continual decay of learning rates",),
    )


def _has_gradient(log: Log) -> bool:
    """Whether gradients arrive at all; where they do not, the learning rate is not to blame."""
    if "gradient_norm" not in log.names["network"]:
        return False
    return bool(np.median(log.series("gradient_norm", of="network").values) > 0)


def _decayed(log: Log, least_of_peak: float) -> Finding | None:
    """A rate that is a small fraction of its peak for most of the run, while much is left to be learned."""
    if "learning_rate" not in log or not is_short(log):
        return None
    series = log.series("learning_rate")
    rate = series.values[:, 0]
    low = rate < least_of_peak * np.nanmax(rate)
    onset = begins_to_last(low)
    if onset is None or onset > len(rate) / 2:
        return None
    step = int(series.steps[onset])
    return Finding(
        rule="learning_rate_too_low",
        severity="warning",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series="learning_rate",
            value=float(rate[-1]),
            band=f"at least {least_of_peak:g} of its peak over the first half of the run",
            readings=len(rate) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=(
                f"Since step {step}, before the middle of the run, the learning rate is below {least_of_peak:g} of its "
                f"peak, {np.nanmax(rate):.3g}; in the end it is {rate[-1]:.2g}."
            ),
        ),
        why="What is left to be learned is waited for with steps that move hardly anything.",
        fix="Let the schedule last as long as the run: see whether it is stepped by batch where it counts epochs.",
        confidence=0.8,
        references=(
            "Karpathy, A Recipe for Training Neural Networks, 2019: do not trust learning rate decay defaults",
        ),
    )
