"""What the user logged of data that the network is not trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diag.log import Log, Series

VALIDATION_LOSSES = ("val_loss", "validation_loss", "valid_loss", "test_loss", "eval_loss")
ACCURACIES = (
    "val_accuracy",
    "validation_accuracy",
    "valid_accuracy",
    "test_accuracy",
    "eval_accuracy",
    "val_acc",
)


def validation_of(log: Log, names: Sequence[str]) -> Series | None:
    """The first of these series that the log has, where it is a number; None without any."""
    name = next((name for name in names if name in log), None)
    return None if name is None else log.series(name).known()


def final_of(validation: Series) -> float:
    """Where it ends: the median of the last three, of which one may be an outlier."""
    return float(np.median(validation.values[-3:, 0]))


def one_example(accuracies: NDArray[np.float64]) -> float:
    """What one example counts in an accuracy: the least by which two readings differ.

    Nine more or fewer is three times what so many changes at random come to, and the best reading is chosen as such.
    """
    steps = np.diff(np.unique(np.round(accuracies, 6)))
    return float(steps.min()) if steps.size else 0.0
