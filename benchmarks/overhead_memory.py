"""What recording takes of memory: a process that trains and records, beside one that only trains.

``python -m benchmarks.overhead_memory FRAMEWORK NETWORK EVERY STEPS`` trains, recording every so many steps (0:
never), and prints JSON of kilobytes. Reads Linux's counters in /proc.
"""

import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.memory import forget_peak, status
from benchmarks.networks import NETWORKS, WARM_UP, Network
from benchmarks.timing import Row, row
from benchmarks.training import recording, training

# Besides one copy of the parameters, against which the update is taken.
MOST_BESIDES = 50.0
MOST_GROWTH = 1.0
# The largest: of a copy of its parameters one would see a second.
LARGE = "MLP 1024-2048-2048-1000, batch 256"
LARGE_STEPS = 30
LONG_STEPS = 100_000
KB = 1024


class Memory(NamedTuple):
    """Kilobytes of one process.

    Attributes:
        libraries: What it took to load what records.
        peak: What training took at most, from the process at rest with its libraries loaded.
        growth: Between the tenth part of the steps and their end.
    """

    libraries: int
    peak: int
    growth: int


def rows(framework: str) -> Iterator[Row]:
    """One row of the peak, one of the libraries beside it, and one of what a long training gathers."""
    large = next(network for network in NETWORKS if network.name == LARGE)
    alone, recorded = (measured(framework, large, every, LARGE_STEPS) for every in (0, 1))
    added = (recorded.peak - alone.peak) / KB
    limit = copy_of(large) / KB + MOST_BESIDES
    yield row(f"{framework}, memory, {LARGE}, every 1", [added], limit, unit="MB besides training")
    yield row(f"{framework}, memory of libraries that record", [recorded.libraries / KB], None, unit="MB")
    grown = measured(framework, WARM_UP, 10, LONG_STEPS).growth / KB
    yield row(
        f"{framework}, memory, {LONG_STEPS:,} steps, every 10",
        [grown],
        MOST_GROWTH,
        unit="MB more than after 10,000",
    )


def measured(framework: str, network: Network, every: int, steps: int) -> Memory:
    """What a process of its own takes."""
    which = str([*NETWORKS, WARM_UP].index(network))
    command = [sys.executable, "-m", "benchmarks.overhead_memory", framework, which, str(every), str(steps)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return Memory(*json.loads(finished.stdout))


def copy_of(network: Network) -> float:
    """Kilobytes that the parameters take."""
    import scratchnet.nn as nn

    return sum(parameter.size for parameter in network.make(nn).parameters()) * 4 / KB


def _measure(framework: str, network: Network, every: int, steps: int) -> Memory:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Too small to count: it loads the libraries and starts their threads.
        training(framework, WARM_UP, steps=WARM_UP.steps)()
        bare = status("VmRSS")
        with ExitStack() as run:
            listen = recording(folder / "warm-up", every, run) if every else None
            training(framework, WARM_UP, listen, steps=WARM_UP.steps)()
        gc.collect()
        at_rest = status("VmRSS")
        forget_peak()
        with ExitStack() as run:
            listen = recording(folder / "run", every, run) if every else None
            turn = training(framework, network, listen, steps=steps // 10)
            turn()
            early = status("VmRSS")
            for _ in range(9):
                turn()
            late = status("VmRSS")
        return Memory(at_rest - bare, status("VmHWM") - at_rest, late - early)


if __name__ == "__main__":
    _, which_framework, position, *numbers = sys.argv
    print(json.dumps(_measure(which_framework, [*NETWORKS, WARM_UP][int(position)], *map(int, numbers))))
