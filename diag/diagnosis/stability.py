"""Where the curvature stands against what the optimiser can hold."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.rules import NotAssessableError, rule
from diag.log import Log

PRECONDITIONED = "preconditioned_top_eigenvalue"


@rule("top_eigenvalues", "stability_threshold", LOSSES)
def edge_of_stability(log: Log, *, least: float, largest: float, least_share: float) -> Iterator[Finding]:
    """A state, no fault: the sharpness hovers about what the optimiser can just hold."""
    steps, ratio = sharpness_over_threshold(log)
    if not len(ratio):
        raise NotAssessableError("the log has no stability threshold for this optimiser")
    later = ratio[len(ratio) // 2 :]
    at_edge = (later >= least) & (later <= largest)
    outcome = Outcome.of(log)
    if len(later) < 3 or not at_edge.mean() >= least_share or outcome is None or outcome.has_learned_little():
        return
    first = int(np.argmax((ratio >= least) & (ratio <= largest)))
    yield Finding(
        rule="edge_of_stability",
        severity="note",
        layer=None,
        onset_step=int(steps[first]),
        evidence=Evidence(
            series=sharpness_name(log),
            value=float(np.median(later)),
            band="a state, no fault",
            readings=int(np.count_nonzero(at_edge)),
            last_healthy_step=None,
            text=(
                f"In the second half of the run the largest eigenvalue is {np.median(later):.2f} times the stability "
                f"threshold, and within {least:g} and {largest:g} times at {at_edge.mean():.0%} of the readings."
            ),
        ),
        why="Gradient descent sharpens until its step only just holds, and stays there while the loss still falls.",
        fix="Nothing. A loss that goes up and down a little at this edge is normal; it falls over longer times.",
        confidence=0.8,
        references=(
            "Cohen et al., Gradient Descent Typically Occurs at the Edge of Stability, 2021, arXiv:2103.00065",
            "Cohen et al., Adaptive Gradient Methods at the Edge of Stability, 2022, arXiv:2207.14484",
        ),
    )


def sharpness_name(log: Log) -> str:
    """The series of the largest eigenvalue as the optimiser sees it: of the preconditioned Hessian if there is one."""
    return PRECONDITIONED if PRECONDITIONED in log else "top_eigenvalues"


def sharpness_over_threshold(log: Log) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps, and the sharpness over what the optimiser can just hold, wherever both are numbers."""
    sharpness, limit = log.series(sharpness_name(log)), log.series("stability_threshold")
    ratio = sharpness.values[:, 0] / limit.at(sharpness.steps)[:, 0]
    is_known = np.isfinite(ratio)
    return sharpness.steps[is_known], ratio[is_known]
