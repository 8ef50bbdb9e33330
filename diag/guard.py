"""What keeps a fault of ours out of somebody's training."""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any


class DiagWarning(UserWarning):
    """Something that diag could not do; training is not affected."""


def warn(message: str) -> None:
    """Warns the user, who may have turned warnings into errors."""
    with suppress(Exception):
        warnings.warn(f"diag: {message}", DiagWarning, stacklevel=5)


class Guard:
    """Runs diag's own work: what it raises is told once and goes no further, and its time is counted.

    Args:
        tell: Called with the work that failed, its subject and a message, once for each pair of the two.
        warn: Called with what the user should read.

    Attributes:
        depth: How many blocks are open, one within the other.
        seconds: Time spent in the outermost, since `take_seconds` last asked.
    """

    def __init__(self, tell: Callable[[str, str, str], None], warn: Callable[[str], None] = warn) -> None:
        self._tell = tell
        self._warn = warn
        self._told: set[tuple[str, str]] = set()
        self.depth = 0
        self.seconds = 0.0

    def __call__(self, work: str, subject: str = "") -> "_Block":
        """A block of diag's own work, named so that a failure can be told."""
        return _Block(self, work, subject)

    def attempt(self, work: str, subject: str, function: Callable[[Any], Any], argument: Any) -> Any:
        """What a function makes of its argument, within a block of its own; None where it fails."""
        if not self.depth:
            with _Block(self, work, subject):
                return function(argument)
            return None
        try:
            return function(argument)
        except Exception as error:  # noqa: BLE001 - whatever error it is, it must not stop the training
            self.report(work, subject, error)
            return None

    def report(self, work: str, subject: str, error: Exception) -> None:
        """Tells of a failure, the first time that this work fails at this subject."""
        if (work, subject) in self._told:
            return
        self._told.add((work, subject))
        where = f" at {subject!r}" if subject else ""
        message = f"{work} failed{where}: {type(error).__name__}: {error}"
        self._warn(f"{message}; training goes on without it")
        # Telling may fail too, as on a full disk.
        with suppress(Exception):
            self._tell(work, subject, message)

    def take_seconds(self) -> float:
        """Seconds spent since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


class _Block:
    """One block of guarded work, which may be entered time after time, but not within itself.

    A class, for it is entered hundreds of times in a step.
    """

    __slots__ = ("_guard", "_start", "_subject", "_work")

    def __init__(self, guard: Guard, work: str, subject: str) -> None:
        self._guard = guard
        self._work = work
        self._subject = subject

    def __enter__(self) -> None:
        self._guard.depth += 1
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        guard = self._guard
        guard.depth -= 1
        if not guard.depth:
            guard.seconds += time.perf_counter() - self._start
        # Whatever error it is, it must not stop the training; an interrupt by the user must.
        if isinstance(error, Exception):
            guard.report(self._work, self._subject, error)
            return True
        return False
