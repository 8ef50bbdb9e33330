"""What the callbacks share: each training is a run, in a folder of its own, that ends with a reason."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from diag.recorder import Recorder


class Pair(NamedTuple):
    """A model with the optimiser that moves it, as `Recorder.watch` takes them."""

    model: Any
    optimizer: Any
    criterion: Any = None
    name: str = ""


class Runs:
    """Opens a run when a training starts and closes it when that ends.

    The first training is written into ``folder``; each that this callback hears after it is a run of its
    own beside it: ``folder-2``, ``folder-3``. Steps count from 0 in each.

    Used in a ``with`` block, a run that is still open at the end of the block is closed with the exception
    that left it; that is how one hears of it where the framework tells a callback of no exception.

    Args:
        folder: Where the first run is written.
        config: Goes into ``run.json``, over what the framework itself knows of the configuration.
        settings: As `diag.Recorder` takes them, such as ``every``.

    Attributes:
        folder: Of the training in progress, or of the last.
        recorder: Of the training in progress, for scalars of your own and for curvature; None between
            trainings.
    """

    def __init__(
        self, folder: str | Path, *, config: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.recorder: Recorder | None = None
        self._first = self.folder
        self._config = dict(config or {})
        self._settings = settings
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(reason_of(error))

    def _open(self, pairs: Iterable[Pair], config: Mapping[str, Any], rank: int = 0) -> Recorder:
        """Begins a run; one that is still open was left by an exception that nobody told us of."""
        self._close("left open when the next training began")
        self._count += 1
        self.folder = self._first
        if self._count > 1:
            self.folder = self._first.with_name(f"{self._first.name}-{self._count}")
        merged = {**config, **self._config}
        self.recorder = recorder = Recorder(self.folder, config=merged, rank=rank, **self._settings)
        try:
            for model, optimizer, criterion, name in pairs:
                recorder.watch(model, optimizer, criterion=criterion, name=name)
        except (TypeError, ValueError):
            self._close("watch failed")
            raise
        return recorder

    def _log(self, values: Mapping[str, Any]) -> None:
        """Passes on what the framework logs, if a training is in progress: of the step that ended last."""
        if self.recorder is not None and values:
            self.recorder.log(values)

    def _close(self, reason: str = "finished") -> None:
        if self.recorder is not None:
            self.recorder.close(reason)
            self.recorder = None


def reason_of(error: BaseException | None) -> str:
    """How a run ended that this ended."""
    return "finished" if error is None else f"{type(error).__name__}: {error}"
