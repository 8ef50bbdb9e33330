"""Where two runs part: the first step at which they differ at all, and the one from which they differ for good."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diag.curves import Curve, Measure
from diag.diagnosis.persistence import begins_to_last, smoothed

RATIO: Final = 0.1
SHARE: Final = 0.05
LEAST_READINGS: Final = 3

CRITERION: Final = (
    f"Two runs are apart for good from the first step after which the running medians of a measure (over a "
    f"twentieth of the common steps, at most 25) differ at every common step, over at least a tenth of these and "
    f"{LEAST_READINGS} steps: by more than {RATIO:.0%} of the larger, or by more than {SHARE:g} for a share between "
    f"0 and 1. A value that is no number counts as infinite."
)


@dataclass(frozen=True)
class Parting:
    """Where one run parts from another in one measure.

    Attributes:
        run: Which run.
        baseline: From which other.
        measure: Name of the measure.
        common_steps: How many recorded steps both have.
        first_difference: The first common step at which their numbers are not the same to the last bit;
            None where there is none. Runs of one seed on one machine should have none.
        apart_from: The first common step from which they are apart for good, by `CRITERION`; None where
            they are not.
    """

    run: str
    baseline: str
    measure: str
    common_steps: int
    first_difference: int | None
    apart_from: int | None


def part(run: str, baseline: str, measure: Measure, curve: Curve, other: Curve) -> Parting:
    """Compares two runs in one measure, at the steps that both recorded.

    Args:
        run: Name of the run.
        baseline: Name of the other.
        measure: What the curves show.
        curve: Of the run.
        other: Of the other.

    Returns:
        Where they part.

    Example:
        >>> steps = np.arange(6)
        >>> falling = Curve(steps, np.array([4.0, 3.0, 2.0, 1.0, 0.5, 0.2]))
        >>> stuck = Curve(steps, np.array([4.0, 3.0, 2.1, 2.0, 2.0, 2.0]))
        >>> parting = part("stuck", "falling", Measure("loss", "Loss"), stuck, falling)
        >>> parting.first_difference, parting.apart_from
        (2, 3)
    """
    steps = np.intersect1d(curve.steps, other.steps)
    mine, theirs = curve.at(steps), other.at(steps)
    is_different = np.flatnonzero((mine != theirs) & ~(np.isnan(mine) & np.isnan(theirs)))
    apart = begins_to_last(_are_apart(mine, theirs, measure), max(LEAST_READINGS, len(steps) // 10))
    return Parting(
        run,
        baseline,
        measure.name,
        len(steps),
        int(steps[is_different[0]]) if is_different.size else None,
        None if apart is None else int(steps[apart]),
    )


def _are_apart(mine: NDArray[np.float64], theirs: NDArray[np.float64], measure: Measure) -> NDArray[np.bool_]:
    width = int(np.clip(len(mine) // 20, 1, 25))
    # As infinite: a median of NaN would spread over its whole window.
    mine, theirs = (smoothed(np.where(np.isnan(values), np.inf, values), width) for values in (mine, theirs))
    larger = np.maximum(np.abs(mine), np.abs(theirs))
    with np.errstate(invalid="ignore"):
        gap = np.abs(mine - theirs)
        is_far: NDArray[np.bool_] = ~(gap <= (SHARE if measure.is_share else RATIO * larger))
    # Infinity is within a tenth of itself, and so is all else: it is near to nothing but the same infinity.
    return (is_far | ~np.isfinite(larger)) & (mine != theirs)
