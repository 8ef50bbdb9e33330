"""Peak memory of training, each side in a process of its own; reads Linux's counters in /proc."""

import gc
import subprocess
import sys
from pathlib import Path

from benchmarks.networks import NETWORKS, WARM_UP, Network, train_here, train_in_pytorch

LIMIT = 1.5
# Kilobytes below which the counters and the allocators' slack say more than the network does.
GRAIN = 1024
_SIDES = {"scratchnet": train_here, "torch": train_in_pytorch}


def ratio(network: Network) -> float:
    """What scratchnet's training adds to its process at most, over what PyTorch's adds."""
    mine, other = (max(_added(network, side), GRAIN) for side in _SIDES)
    return mine / other


def _added(network: Network, side: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", str(NETWORKS.index(network)), side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603


def _measure(network: Network, side: str) -> int:
    """Kilobytes between the process at rest, its libraries warm, and its peak during training."""
    _SIDES[side](WARM_UP)()
    gc.collect()
    forget_peak()
    at_rest = status("VmRSS")
    _SIDES[side](network)()
    return status("VmHWM") - at_rest


def forget_peak() -> None:
    """Lets the peak begin anew at what is held now; Linux does so when it is told."""
    Path("/proc/self/clear_refs").write_text("5")


def status(key: str) -> int:
    """Kilobytes of this process: held now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    print(_measure(NETWORKS[int(sys.argv[1])], sys.argv[2]))
