"""Records what goes on inside a network while it trains, and says afterwards what is wrong with it.

import diag
with diag.Recorder("runs/mlp", config={"lr": 0.1}) as recorder:
    recorder.watch(model, optimizer, criterion=criterion)
    ...                                         # the training loop, unchanged
log = diag.Log("runs/mlp")
print(diag.diagnose(log).status)
diag.report(log, "report.html")
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diag.diagnosis import Diagnosis, Evidence, Finding, diagnose, rule
from diag.guard import DiagWarning
from diag.log import Log, LogError, Series
from diag.recorder import Recorder
from diag.verify import Check, Verification, verify

__all__ = [
    "Check",
    "DiagWarning",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Log",
    "LogError",
    "Recorder",
    "Series",
    "Verification",
    "compare",
    "diagnose",
    "report",
    "rule",
    "verify",
    "watch",
]


def watch(
    model: Any, optimizer: Any, folder: str | Path, *, criterion: Any = None, **settings: Any
) -> Recorder:
    """Records the training of a model into a folder from now on: a `Recorder` and its `watch` in one line.

    Args:
        model: A scratchnet or a PyTorch module.
        optimizer: Moves the model's parameters; its steps are the run's.
        folder: Where the run is written.
        criterion: The loss module, if its loss, predictions and targets are to be recorded too.
        settings: As `Recorder` takes them, such as ``every``.

    Returns:
        The recorder, for scalars of your own and for curvature. It closes when the interpreter exits;
        until then, and until you `Recorder.close` it, it listens.

    Raises:
        FileExistsError: If the folder holds a log already.
        TypeError: If model, optimiser and criterion are not of one supported framework.
        ValueError: If the optimiser moves none of the model's parameters, or a setting is out of range.
    """
    is_new = not Path(folder).exists()
    recorder = Recorder(folder, **settings)
    try:
        recorder.watch(model, optimizer, criterion=criterion)
    except (TypeError, ValueError):
        recorder.close("watch failed")
        # A run that never began must not be in the way of the next call.
        if is_new:
            shutil.rmtree(folder)
        raise
    return recorder


def report(log: Log, path: str | Path) -> Path:
    """Writes the report of a run, made from its log alone.

    Args:
        log: Of a run that is going on, finished or killed.
        path: Where to; its suffix (``.html``, ``.md`` or ``.json``) says in which form.

    Returns:
        The path that was written.

    Raises:
        ValueError: If the suffix is none of the three.
    """
    from diag.reporting import write_report  # matplotlib, which recording does not need

    return write_report(log, Path(path))


def compare(logs: Sequence[Log], path: str | Path) -> Path:
    """Writes several runs side by side: settings that differ, verdicts, measures, seeds, and where they part.

    Runs that differ in the seed alone (same configuration, optimiser and layers, another ``seed`` in the
    configuration) become one line with a 95 % interval of their mean.

    Args:
        logs: At least two, of different runs; the first is what the others are held against.
        path: Where to; its suffix (``.html``, ``.md`` or ``.json``) says in which form.

    Returns:
        The path that was written.

    Raises:
        ValueError: If the suffix is none of the three, or there are fewer than two runs, or one came twice.
    """
    from diag.comparison import side_by_side, write_comparison  # matplotlib again

    return write_comparison(side_by_side(logs), Path(path))
