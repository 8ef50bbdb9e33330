"""Numbers too small or too large for the type that they are kept in."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_impaired
from diag.log import Log


@rule("learning_rate", LOSSES)
def skipped_steps(log: Log, *, largest_share: float) -> Iterator[Finding]:
    """Mixed precision that goes on skipping steps, long after the scale of the loss should have been found."""
    skipped = np.array([each.step for each in log.happenings if each.kind == "skipped_step"], np.int64)
    last = int(log.steps[-1])
    # Half of the run is time enough: the scale halves at each step that is skipped.
    later = np.count_nonzero(skipped > last / 2)
    share = later / (later + last / 2) if later else 0.0
    if share <= largest_share:
        return
    yield Finding(
        rule="skipped_steps",
        severity="warning" if is_impaired(log) else "note",
        layer=None,
        onset_step=int(skipped[0]),
        evidence=Evidence(
            series="learning_rate",
            value=share,
            band=f"at most {largest_share:.0%} of the steps in the second half of the run",
            readings=int(later),
            last_healthy_step=None,
            text=(
                f"GradScaler skipped {len(skipped)} steps, {later} of them in the second half of the run: "
                f"{share:.0%} of all steps there."
            ),
        ),
        why="A step is skipped where a gradient is not finite: at every scale of the loss some gradient overflows.",
        fix="Look for what overflows (rule non_finite), use bfloat16, or keep the layers that overflow in float32.",
        confidence=0.8,
        references=("Micikevicius et al., Mixed Precision Training, 2018, arXiv:1710.03740",),
    )
