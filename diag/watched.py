"""One model with what listens to it."""

from dataclasses import dataclass

import numpy as np

from diag.capture import Capture
from diag.measure import Measure
from diag.plan import Taken, as_they_are


@dataclass
class Watched:
    """A capture, what measures what it tells, and what the recorder notes of the step in progress."""

    capture: Capture
    measure: Measure
    learning_rates: tuple[float, ...] = ()
    evaluation_mode_rate: float = np.nan

    def rates(self) -> Taken:
        """What was noted of the step; evaluations are counted anew."""
        prefix = f"{self.capture.name}." if self.capture.name else ""
        # Empty until the pair's own optimiser has stepped, which for a second pair is in the step after.
        groups = range(len(self.learning_rates))
        rates = (f"learning_rate{f'_{group}' if group else ''}" for group in groups)
        names = *rates, "evaluation_mode_rate", "training_mode_evaluations"
        evaluations, self.capture.evaluations = self.capture.evaluations, 0
        values = np.array([*self.learning_rates, self.evaluation_mode_rate, evaluations])
        return Taken(as_they_are(tuple(prefix + name for name in names)), values)
