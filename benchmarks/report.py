"""What a report of a long run takes: seconds, memory, and the size of its page.

Each report is made in a process of its own, from the log to the file, the start of Python included.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.long_run import write_long_run
from benchmarks.timing import Row

# Layers, recorded steps.
CASES = ((200, 100_000), (1_000, 20_000))
MOST_SECONDS, MOST_GIGABYTES, MOST_MEGABYTES = 10.0, 1.0, 2.0


def run() -> Iterator[Row]:
    """Writes each run, reports on it, and says what that took."""
    for layers, steps in CASES:
        with tempfile.TemporaryDirectory() as folder:
            run_folder = Path(folder) / "run"
            write_long_run(run_folder, layers, steps)
            yield from _rows(f"{layers} layers × {steps:,} steps", run_folder)


def _rows(case: str, folder: Path) -> Iterator[Row]:
    page = folder / "report.html"
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.report", str(folder), str(page)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    seconds = time.perf_counter() - start
    kilobytes, processor = map(float, told.split())
    gigabytes, megabytes = kilobytes * 1024 / 1e9, page.stat().st_size / 1e6
    yield Row(case, seconds, "seconds", MOST_SECONDS, seconds)
    # What is left of the seconds where others are at work on the machine.
    yield Row(case, processor, "seconds of the processor", None, processor)
    yield Row(case, gigabytes, "GB of memory at most", MOST_GIGABYTES, gigabytes)
    yield Row(case, megabytes, "MB of HTML", MOST_MEGABYTES, megabytes)


def _report(folder: str, page: str) -> tuple[int, float]:
    """Writes the report; kilobytes of this process at its peak, and the seconds that it computed."""
    import diag

    diag.report(diag.Log(folder), page)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_maxrss, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    print(*_report(*sys.argv[1:]))
