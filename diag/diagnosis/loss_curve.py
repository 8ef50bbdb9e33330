"""How the loss moves from step to step: swings and spikes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import does_well, guess_loss
from diag.diagnosis.validation import VALIDATION_LOSSES, validation_of
from diag.log import Log

LEAST_READINGS = 40
LEAST_EVALUATIONS = 8


@rule(LOSSES)
def oscillation(
    log: Log, *, largest_swing: float, most_turns: float, largest_jump: float, most_jumps: float
) -> Iterator[Finding]:
    """A loss that swings up and down, further than batches differ, or a validation loss that jumps to and fro."""
    jumps = _jumps(log, largest_jump, most_jumps)
    if jumps is not None:
        yield jumps
        return
    outcome = Outcome.of(log)
    if outcome is None or len(outcome.loss) < LEAST_READINGS or not np.isfinite(outcome.smooth).all():
        return
    reach = outcome.initial - float(outcome.smooth.min())
    # A running mean over so many readings leaves this much of what batches differ by.
    swing = max(largest_swing * reach, 8 * _flicker(outcome.loss) / np.sqrt(_WIDTH))
    turns = turning_points(_running_mean(outcome.loss, _WIDTH), swing)
    if reach <= 0 or len(turns) <= most_turns:
        return
    onset = turns[0]
    is_hurt = turns[-1] > 0.75 * len(outcome.loss) and outcome.has_slipped_back(0.1)
    yield Finding(
        rule="oscillation",
        severity="warning" if is_hurt else "note",
        layer=None,
        onset_step=int(outcome.steps[onset]),
        evidence=Evidence(
            series=outcome.name,
            value=float(len(turns)),
            band=f"at most {most_turns:g} turns of {swing:.3g}",
            readings=len(outcome.loss) - onset,
            last_healthy_step=last_healthy(outcome.steps, onset),
            text=(
                f"Smoothed over {_WIDTH} readings, the loss turns {len(turns)} times by {swing:.3g} or more; "
                f"at its best it is {outcome.smooth.min():.4g}, in the end {outcome.final:.4g}."
            ),
        ),
        why="Steps carry the weights across the valley and back, so progress is undone again and again.",
        fix="Lower the learning rate or let it decay, lower the momentum, or take larger batches.",
        confidence=0.6,
        references=("Zhang et al., AUTOTRAINER, ICSE 2021: oscillating loss",),
    )


def _jumps(log: Log, largest: float, most: float) -> Finding | None:
    """Validations of one and the same set that lie far apart, to and fro: only the weights differ between them."""
    validation, guess = validation_of(log, VALIDATION_LOSSES), guess_loss(log)
    if validation is None or guess is None or len(validation.steps) < LEAST_EVALUATIONS:
        return None
    # In the first third a loss may find its way yet.
    start = len(validation.steps) // 3
    values = validation.values[start:, 0] / guess
    turns = turning_points(values, largest) if np.isfinite(values).all() else []
    # What a schedule has quietened by the end has done no harm.
    if len(turns) <= most or not turning_points(values[len(values) // 2 :], largest):
        return None
    onset = start + turns[0]
    return Finding(
        rule="oscillation",
        severity="warning",
        layer=None,
        onset_step=int(validation.steps[onset]),
        evidence=Evidence(
            series=validation.name,
            value=float(len(turns)),
            band=f"at most {most:g} turn by {largest:g} of the loss of a guess",
            readings=len(values) - turns[0],
            last_healthy_step=last_healthy(validation.steps, onset),
            text=(
                f"From one validation to the next the loss turns {len(turns)} times by {largest * guess:.3g} or more, "
                f"between {guess * values.min():.4g} and {guess * values.max():.4g}, though the examples are the same."
            ),
        ),
        why="Each validation meets other weights: steps throw them about, and which ones one ends with is chance.",
        fix="Lower the learning rate or let it decay, lower the momentum, take larger batches, or average the weights.",
        confidence=0.6,
        references=("Zhang et al., AUTOTRAINER, ICSE 2021: oscillating accuracy",),
    )


_WIDTH = 5


def _flicker(loss: NDArray[np.float64]) -> float:
    """Standard deviation of what readings differ by from one to the next, unmoved by outliers."""
    return float(1.4826 * np.median(np.abs(np.diff(loss[np.isfinite(loss)]))) / np.sqrt(2))


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(values), values, np.nanmax(values[np.isfinite(values)]))
    return np.convolve(finite, np.full(width, 1 / width), "valid")


def turning_points(values: NDArray[np.float64], swing: float) -> list[int]:
    """Indices at which a curve has turned and gone so far the other way.

    Example:
        >>> turning_points(np.array([3.0, 1.0, 2.0, 1.9, 0.0]), 0.5)
        [1, 2]
    """
    turns: list[int] = []
    extreme, is_falling = 0, True
    for index, value in enumerate(values):
        if value == values[extreme] or (value < values[extreme]) == is_falling:
            extreme = index
        elif abs(value - values[extreme]) >= swing:
            turns.append(extreme)
            extreme, is_falling = index, not is_falling
    return turns


@rule(LOSSES)
def loss_spike(log: Log, *, largest_score: float, least_height: float, window: float) -> Iterator[Finding]:
    """A loss that leaps far out of what it was before."""
    outcome = Outcome.of(log)
    if outcome is None or len(outcome.loss) < LEAST_READINGS:
        return
    starts = _spikes(outcome, int(window), largest_score, least_height)
    if not starts:
        return
    first = starts[0]
    step = int(outcome.steps[first])
    before = float(np.median(outcome.loss[max(first - int(window), 0) : first]))
    stays = any(_stays_up(outcome, start, int(window), least_height) for start in starts)
    yield Finding(
        rule="loss_spike",
        severity="warning" if stays and not does_well(log) else "note",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series=outcome.name,
            value=float(outcome.loss[first]),
            band=f"within {largest_score:g} deviations of the {window:g} readings before",
            readings=len(starts),
            last_healthy_step=last_healthy(outcome.steps, first),
            text=(
                f"At step {step} the loss leaps from {before:.4g} to {outcome.loss[first]:.4g}; "
                f"{len(starts)} such leap{'s' if len(starts) > 1 else ''} in all"
                + (", and it takes long to come back." if stays else ", soon made good.")
            ),
        ),
        why="One batch or one step too long throws the weights out of the valley that they were in.",
        fix="Clip the gradient's norm, look at the batch of that step, and lower Adam's β₂ if it is an Adam.",
        confidence=0.6,
        references=(
            "Wortsman et al., Stable and low-precision training for large-scale vision-language models, 2023",
            "Criterion of 7 deviations: OLMo 2, 2025",
        ),
    )


def _spikes(outcome: Outcome, window: int, largest_score: float, least_height: float) -> list[int]:
    """First readings of each row of readings that lie far out of the window before."""
    loss = np.where(np.isfinite(outcome.loss), outcome.loss, np.nan)
    before = np.lib.stride_tricks.sliding_window_view(loss, window)[:-1]
    middle = np.median(before, axis=1)
    spread = 1.4826 * np.median(np.abs(before - middle[:, np.newaxis]), axis=1)
    rise = loss[window:] - middle
    # A loss that is practically zero may leap to many times itself and mean nothing.
    is_out = (rise > largest_score * spread) & (rise > least_height * abs(outcome.initial))
    starts = np.flatnonzero(is_out & ~np.concatenate([[False], is_out[:-1]])) + window
    return [int(start) for start in starts]


def _stays_up(outcome: Outcome, start: int, window: int, least_height: float) -> bool:
    """Whether the loss, over the window after a leap, lies higher than before by half of what makes a leap."""
    before, after = outcome.loss[max(start - window, 0) : start], outcome.loss[start : start + window]
    rise = float(np.median(after)) - float(np.median(before))
    return not rise <= 0.5 * least_height * abs(outcome.initial)
