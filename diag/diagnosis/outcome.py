"""What became of the training: a symptom is a fault only where the loss suffers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.persistence import begins_to_last, smoothed
from diag.log import Log, Series

# In order of preference: heard at every recorded step, or logged by the user.
LOSSES = ("criterion_loss", "loss", "train_loss", "training_loss")


def loss_series(log: Log) -> Series | None:
    """The training loss, wherever the log has it; without the steps at which the criterion was not heard."""
    series = next((log.series(name) for name in LOSSES if name in log), None)
    if series is None or "evaluation_mode_rate" not in log:
        return series
    # A criterion is heard in training alone: there is no loss in evaluation mode, not one beyond all numbers.
    is_unheard = (log.series("evaluation_mode_rate").at(series.steps)[:, 0] >= 1) & np.isnan(
        series.values[:, 0]
    )
    heard = ~is_unheard
    return Series(series.name, series.axis, series.steps[heard], series.columns, series.values[heard])


@dataclass(frozen=True)
class Outcome:
    """The training loss, judged.

    Attributes:
        name: Of the series.
        steps: Recorded steps.
        loss: As recorded, but infinite where it is NaN: a loss beyond all numbers has risen, not vanished.
        smooth: Running median, which mini-batch noise moves little.
    """

    name: str
    steps: NDArray[np.int64]
    loss: NDArray[np.float64]
    smooth: NDArray[np.float64]

    @classmethod
    def of(cls, log: Log) -> "Outcome | None":
        """The outcome, or None where no loss was recorded that is a number."""
        series = loss_series(log)
        if series is None or not np.isfinite(series.values).any():
            return None
        values = series.values[:, 0]
        loss = np.where(np.isfinite(values), values, np.inf)
        width = int(np.clip(len(loss) // 20, 1, 25))
        return cls(series.name, series.steps, loss, smoothed(loss, width))

    @cached_property
    def initial(self) -> float:
        """Loss before anything was learned: the first that is a number."""
        return float(self.loss[np.isfinite(self.loss)][0])

    @cached_property
    def final(self) -> float:
        """Loss in the end, the median of the last tenth."""
        return float(np.median(self.loss[-max(len(self.loss) // 10, 3) :]))

    @property
    def progress(self) -> float:
        """Share of the initial loss that is gone in the end, negative if it grew."""
        return self._share_gone(self.final)

    @property
    def best_progress(self) -> float:
        """Share of the initial loss that is gone at the best moment of the run."""
        return self._share_gone(float(self.smooth.min()))

    def _share_gone(self, loss: float) -> float:
        return (self.initial - loss) / abs(self.initial) if self.initial else float("nan")

    def has_learned_little(self, share: float = 0.1) -> bool:
        """Whether less than a share of the initial loss is gone; a loss that is not finite has gone nowhere."""
        return not self.progress >= share

    def has_slipped_back(self, share: float = 0.2) -> bool:
        """Whether the end lies above the best by more than a share of the initial loss."""
        return not self.best_progress - self.progress <= share

    def around(self, step: int) -> float:
        """The loss near a step, smoothed."""
        return float(self.smooth[min(int(np.searchsorted(self.steps, step)), len(self.smooth) - 1)])

    @property
    def best(self) -> int:
        """Index of the best moment of the run."""
        return int(np.argmin(self.smooth))

    def risen_since(self) -> int | None:
        """Index from which the loss stays nearer to its end than to its best; None if it does not.

        A loss that is not finite counts as risen.
        """
        halfway = self.smooth[self.best] + 0.5 * (self.final - self.smooth[self.best])
        return begins_to_last(~(self.smooth < halfway), least=1)

    def is_hurt_after(self, step: int, window: int | None = None) -> bool:
        """Whether the loss gets clearly worse after a step, and does not come back within the window.

        Worse means above 1.5 times what it was, or half of all progress lost, or not finite. Without a
        window the rest of the run counts.
        """
        index = int(np.searchsorted(self.steps, step, side="right"))
        before, after = self.loss[max(index - 5, 0) : index], self.loss[index:][:window]
        if not len(after):
            return False
        was = float(np.median(before)) if len(before) else self.initial
        now = float(np.median(after[-max(len(after) // 2, 1) :]))
        # Not below a thousandth of the start: a loss that is practically zero may double and mean nothing.
        floor = max(abs(was), 1e-3 * abs(self.initial))
        return not now <= min(1.5 * floor, max(was + 0.5 * (self.initial - was), 1.1 * floor))

    def is_settled(self) -> bool:
        """Whether most of the loss is gone and the last quarter of the run changes it little."""
        if not self.progress >= 0.7 or len(self.loss) < 20:
            return False
        quarter = self.smooth[-max(len(self.smooth) // 4, 5) :]
        return bool(abs(quarter[-1] - quarter[0]) <= 0.05 * abs(self.initial))
