"""What keeps a fault of ours out of somebody's training."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np


class DiagWarning(UserWarning):
    """Something that diag could not do; training is not affected."""


class Guard:
    """Runs diag's own work: what it raises is told once and goes no further, and its time is counted.

    Args:
        tell: Called with the work that failed, its subject and a message, once for each pair of the two.

    Attributes:
        seconds: Time spent inside, since `take_seconds` last asked.
    """

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell
        self._told: set[tuple[str, str]] = set()
        self._depth = 0
        self.seconds = 0.0

    @contextmanager
    def __call__(self, work: str, subject: str = "") -> Iterator[None]:
        """A block of diag's own work, named so that a failure can be told."""
        start = time.perf_counter()
        self._depth += 1
        try:
            # What a network overflows or divides by zero is a finding, not a warning out of NumPy.
            with np.errstate(all="ignore"):
                yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the training
            self._report(work, subject, error)
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.perf_counter() - start

    def _report(self, work: str, subject: str, error: Exception) -> None:
        if (work, subject) in self._told:
            return
        self._told.add((work, subject))
        where = f" at {subject!r}" if subject else ""
        message = f"{work} failed{where}: {type(error).__name__}: {error}"
        # Telling may fail too (a full disk), and a user may have turned warnings into errors.
        with suppress(Exception):
            warnings.warn(f"diag: {message}; training goes on without it", DiagWarning, stacklevel=4)
        with suppress(Exception):
            self._tell(work, subject, message)

    def take_seconds(self) -> float:
        """Seconds spent since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds
