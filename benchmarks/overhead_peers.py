"""The peers' side of the overhead benchmark, run where they are installed, in turns with ours.

``python -m benchmarks.overhead_peers NETWORK FOLDER`` prints which peers do not run, and why; then, for
each line that it reads, one turn of each peer: its time for a step over that of the step without.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.networks import NETWORKS, Network
from benchmarks.rivals import PEERS
from benchmarks.timing import seconds
from benchmarks.training import training

# A turn of a peer that takes a second for a step has to be short.
STEPS_A_TURN = 20
STEPS_OF_PEERS = {"Cockpit economy": 2}


class Turns:
    """One turn of every peer at each call; of none, where there is no process that runs them.

    Attributes:
        found: The ratios of each peer, turn by turn.
    """

    def __init__(self, child: "subprocess.Popen[str] | None" = None, names: Iterable[str] = ()) -> None:
        self._child = child
        self.found: dict[str, list[float]] = {name: [] for name in names}

    def __call__(self) -> None:
        """Runs one turn and waits for it."""
        if self._child is not None:
            for name, ratio in _answer(self._child, "turn").items():
                self.found[name].append(ratio)


@contextmanager
def peers(network: Network, folder: Path) -> Iterator[Turns]:
    """The peers that run, in a process of their own; none where there is no environment for them."""
    python = os.environ.get("SCRATCHDIAG_PEERS", ".venv-peers/bin/python")
    if not Path(python).exists():
        print(f"overhead: no peers, for there is no {python}; make it, or name another in SCRATCHDIAG_PEERS")
        yield Turns()
        return
    command = [python, "-m", "benchmarks.overhead_peers", str(NETWORKS.index(network)), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        left_out = _answer(child, "")
        for name, why in left_out.items():
            print(f"overhead: {name} does not train the {network.name}: {why}")
        yield Turns(child, [name for name in PEERS if name not in left_out])
        child.stdin.close()  # type: ignore[union-attr]


def _answer(child: "subprocess.Popen[str]", question: str) -> dict[str, Any]:
    if question:
        print(question, file=child.stdin, flush=True)
    line = child.stdout.readline()  # type: ignore[union-attr]
    if not line:
        raise RuntimeError(f"the peers' process ended with code {child.wait()}; its errors stand above")
    found: dict[str, Any] = json.loads(line)
    return found


def main(network: Network, folder: Path) -> None:
    """Answers one line with one line, until there are no more."""
    folder.mkdir()
    with ExitStack() as stack:
        # Whatever else prints must not stand between the answers.
        answers = sys.stdout
        stack.enter_context(redirect_stdout(sys.stderr))
        warnings.simplefilter("ignore")
        base = training("torch", network, steps=STEPS_A_TURN)
        sides, left_out = _started(network, folder, stack)
        print(json.dumps(left_out), file=answers, flush=True)
        for _ in sys.stdin:
            reference = seconds(base) / STEPS_A_TURN
            ratios = {name: seconds(side) / steps_of(name) / reference for name, side in sides.items()}
            print(json.dumps(ratios), file=answers, flush=True)


def steps_of(peer: str) -> int:
    """How many steps a peer's turn has."""
    return STEPS_OF_PEERS.get(peer, STEPS_A_TURN)


def _started(
    network: Network, folder: Path, stack: ExitStack
) -> tuple[Mapping[str, Callable[[], None]], Mapping[str, str]]:
    """The peers that train this network for a turn; and why the others do not."""
    sides, left_out = {}, {}
    for name, start in PEERS.items():
        try:
            side = training("torch", network, start(folder / name, stack), steps=steps_of(name))
            side()
        except Exception as error:  # noqa: BLE001  whatever a peer raises, it is why it is left out
            left_out[name] = f"{type(error).__name__}: {error}"
        else:
            sides[name] = side
    return sides, left_out


if __name__ == "__main__":
    main(NETWORKS[int(sys.argv[1])], Path(sys.argv[2]))
