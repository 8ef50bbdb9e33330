"""How far to go along a direction: a step that satisfies the strong Wolfe conditions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnet.tape import Array

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9


class Trial(NamedTuple):
    """What was found at a distance along the direction."""

    distance: float
    loss: float
    gradient: Array
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Trial],
    start: Trial,
    distance: float,
    *,
    reach: float,
    tolerance: float,
    most: int,
) -> tuple[Trial, int]:
    """A trial that lowers the loss enough, f(t) ≤ f(0) + 10⁻⁴ t f'(0), and is flat enough, |f'(t)| ≤ 0.9 |f'(0)|.

    First steps grow until an interval holds such a point, then cubic interpolation shrinks it.

    Args:
        evaluate: Gives the trial at a distance.
        start: The trial at zero; its slope is negative.
        distance: The first to try.
        reach: The largest element of the direction.
        tolerance: The interval is small enough when no weight would move further in it.
        most: Evaluations after the first.

    Returns:
        The best trial, which satisfies both where ``most`` sufficed, and how often ``evaluate`` was called.

    References:
        Nocedal and Wright, "Numerical Optimization", 2nd edition, algorithms 3.5 and 3.6.
    """
    bracket, tries = _bracket(evaluate, start, distance, most)
    low = 0 if bracket[0].loss <= bracket[-1].loss else 1
    is_stuck, is_found = False, len(bracket) == 1
    while (
        not is_found and tries < most and abs(bracket[1].distance - bracket[0].distance) * reach >= tolerance
    ):
        distance, is_stuck = _inside(bracket, is_stuck)
        trial, tries = evaluate(distance), tries + 1
        if not _is_lower(trial, start) or trial.loss >= bracket[low].loss:
            bracket[1 - low] = trial
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
            continue
        is_found = _is_flat(trial, start)
        # The minimum lies where the slope points down to, seen from the new low end.
        if not is_found and trial.slope * (bracket[1 - low].distance - bracket[low].distance) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = trial
    return bracket[low], tries + 1


def _is_lower(trial: Trial, start: Trial) -> bool:
    # Not the other way round: a loss that is not a number counts as lower, as in PyTorch.
    return not trial.loss > start.loss + SUFFICIENT_DECREASE * trial.distance * start.slope


def _is_flat(trial: Trial, start: Trial) -> bool:
    return abs(trial.slope) <= -CURVATURE * start.slope


def _bracket(
    evaluate: Callable[[float], Trial], start: Trial, distance: float, most: int
) -> tuple[list[Trial], int]:
    """Two trials with a good point between them, or a single one that is good; and how many followed the first."""
    before, trial = start, evaluate(distance)
    for tries in range(most):
        if not _is_lower(trial, start) or (tries > 1 and trial.loss >= before.loss):
            return [before, trial], tries
        if _is_flat(trial, start):
            return [trial], tries
        if trial.slope >= 0:
            return [before, trial], tries
        bounds = trial.distance + 0.01 * (trial.distance - before.distance), trial.distance * 10
        before, trial = trial, evaluate(_cubic_minimum(before, trial, *bounds))
    return [start, trial], most


def _inside(bracket: list[Trial], is_stuck: bool) -> tuple[float, bool]:
    """The next distance to try in a bracket, and whether it is too near an end to be allowed twice."""
    left, right = sorted(trial.distance for trial in bracket)
    distance = _cubic_minimum(bracket[0], bracket[1], left, right)
    margin = 0.1 * (right - left)
    if min(right - distance, distance - left) >= margin:
        return distance, False
    if not is_stuck and left < distance < right:
        return distance, True
    return (right - margin if abs(distance - right) < abs(distance - left) else left + margin), False


def _cubic_minimum(first: Trial, second: Trial, least: float, greatest: float) -> float:
    """Where the cubic through two losses and slopes is lowest between two bounds; halfway if it has no minimum."""
    left, right = (first, second) if first.distance <= second.distance else (second, first)
    width = right.distance - left.distance
    # A straight line divides by zero and has its minimum at a bound.
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = left.slope + right.slope - 3 * np.divide(right.loss - left.loss, width)
        square = bend**2 - left.slope * right.slope
        if not square >= 0:
            return (least + greatest) / 2
        root = np.sqrt(square)
        share = np.divide(right.slope + root - bend, right.slope - left.slope + 2 * root)
        return float(min(max(right.distance - width * share, least), greatest))
