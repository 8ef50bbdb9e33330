"""How often the rules are right: faults put into small trainings, and healthy runs that must not alarm.

Programs are four architectures on twenty data sets, for classes and for numbers, each in scratchnet and in
PyTorch (`program`, `families`). Operators put faults into them in three doses (`operators`). A mutant counts as a fault
only if it really hurts: twenty seeds of it against twenty of the whole program, p < 0.01 and d ≥ 0.8 (`labels`);
the others must not alarm, and neither must the healthy runs (`healthy`). Which rules are right for which
operator was written down before (`truth`). The rule sets of four other tools judge the same logs (`rivals`), and so do
two that say how much there is to be seen at all (`limits`).

What an outcome is: the balanced accuracy of a classifier, and the explained variance of a regression, on a
validation set that the fault did not touch.

The families are split into a half for setting thresholds and a half that is only scored (`families`). The
environment says what to run: ``FAULTS_HALF`` ``tuning``, ``scored`` or both; ``FAULTS_SIZE`` ``quick``,
``small`` or ``whole``; ``FAULTS_RESULTS`` a file of JSON lines where what has been run is kept, so that a run that
was cut short goes on where it was; ``FAULTS_JOBS`` how many processes, all cores without it.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import joblib
from joblib.parallel import get_active_backend

from benchmarks.faults.families import HALVES
from benchmarks.faults.limits import limit_rows
from benchmarks.faults.scoring import Rate, operator_rows, rows
from benchmarks.faults.suite import QUICK, SMALL, WHOLE, pieces, run_pieces

SIZES = {"quick": QUICK, "small": SMALL, "whole": WHOLE}


def run() -> Iterator[Rate]:
    """Runs what the environment says, and scores it.

    Raises:
        ValueError: If the environment names a half or a size that there is not.
    """
    halves = [_chosen("FAULTS_HALF", HALVES)] if "FAULTS_HALF" in os.environ else HALVES
    size = SIZES[_chosen("FAULTS_SIZE", tuple(SIZES)) if "FAULTS_SIZE" in os.environ else "whole"]
    wanted = pieces(size, halves)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(os.environ.get("FAULTS_RESULTS", Path(folder) / "results.jsonl"))
        with joblib.parallel_config(n_jobs=_jobs()):
            results = run_pieces(wanted, size.seeds, file)
    for half in halves:
        yield from rows(half, wanted, results, is_limited=half == "scored")
        yield from limit_rows(half, wanted, results)
        yield from operator_rows(half, wanted, results)


def _jobs() -> int:
    """What the environment or the caller's ``joblib.parallel_config`` says, else all cores."""
    _, ambient = get_active_backend()
    return int(os.environ.get("FAULTS_JOBS", -1 if ambient in (None, 1) else ambient))


Name = TypeVar("Name", bound=str)


def _chosen(variable: str, known: tuple[Name, ...]) -> Name:
    value = os.environ[variable]
    for name in known:
        if name == value:
            return name
    raise ValueError(f"faults needs {variable} to be one of {', '.join(known)}, got {value!r}")
