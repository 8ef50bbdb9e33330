"""Records what goes on inside a network while it trains, and says afterwards what is wrong with it.

import diag
with diag.Recorder("runs/mlp", config={"lr": 0.1}) as recorder:
    recorder.watch(model, optimizer, criterion=criterion)
    ...                                         # the training loop, unchanged
log = diag.Log("runs/mlp")
print(diag.diagnose(log).status)
diag.report(log, "report.html")
"""

from pathlib import Path

from diag.diagnosis import Diagnosis, Evidence, Finding, diagnose, rule
from diag.guard import DiagWarning
from diag.log import Log, LogError, Series
from diag.recorder import Recorder

__all__ = [
    "DiagWarning",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Log",
    "LogError",
    "Recorder",
    "Series",
    "diagnose",
    "report",
    "rule",
]


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
