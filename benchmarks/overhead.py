"""What recording costs: a training step with diag over the same step without, beside what people use today.

The limits are what every user should be able to count on: 1.25 × at every step (1.4 × for twenty layers
of 256, whose steps are short), 1.05 × at every tenth, 1.01 × at every hundredth.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

import diag
from benchmarks.networks import NETWORKS, Network
from benchmarks.rivals import RIVALS, Listen
from benchmarks.timing import Row, ratios, row
from diag.capture import FRAMEWORKS

LIMITS = {1: 1.25, 10: 1.05, 100: 1.01}
DEEP_LIMITS = {**LIMITS, 1: 1.40}
CASES = {
    "MLP 784-512-512-10, batch 128": LIMITS,
    "MLP of 20 layers of 256, batch 64": DEEP_LIMITS,
    "CNN 16-32 on 8×8, batch 64": LIMITS,
    "transformer encoder layer 128-512, 4 heads, 64 positions, batch 16": LIMITS,
}
# A whole number of the longest interval between recorded steps.
STEPS_A_TURN = 100
TURNS = 9
WARM_UP = 2


def run() -> Iterator[Row]:
    """Measures every case in every framework, with the whole default set and both sinks."""
    networks = {network.name: network for network in NETWORKS}
    for framework in FRAMEWORKS:
        if find_spec(framework) is not None:
            for case, limits in CASES.items():
                yield from _case(framework, networks[case], limits)


def _case(framework: str, network: Network, limits: dict[int, float]) -> Iterator[Row]:
    rivals = RIVALS if framework == "torch" else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listeners = {
            f"every {every}": _recording(folder / f"every {every}", every, stack) for every in limits
        }
        listeners |= {name: start(folder / name, stack) for name, start in rivals.items()}
        sides = {name: _training(framework, network, listen) for name, listen in listeners.items()}
        found = ratios(_training(framework, network), sides, turns=TURNS, warm_up=WARM_UP)
    for name, values in found.items():
        limit = {f"every {every}": limit for every, limit in limits.items()}.get(name)
        yield row(f"{framework}, {network.name}, {name}", values, limit, unit="× the step without")


def _recording(folder: Path, every: int, stack: ExitStack) -> Listen:
    def listen(model: Any, optimizer: Any, criterion: Any) -> Callable[[int], None]:
        recorder = stack.enter_context(diag.Recorder(folder, every=every))
        recorder.watch(model, optimizer, criterion=criterion)
        return _nothing

    return listen


def _nothing(_step: int) -> None:
    pass


def _training(framework: str, network: Network, listen: Listen | None = None) -> Callable[[], None]:
    """A function that trains for one turn, heard by the listener."""
    nn, optim = import_module(f"{framework}.nn"), import_module(f"{framework}.optim")
    model, criterion = network.make(nn), network.criterion(nn)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = map(_tensor if framework == "torch" else np.asarray, network.data())
    after_step = listen(model, optimizer, criterion) if listen else _nothing
    steps = count()

    def turn() -> None:
        for step in islice(steps, STEPS_A_TURN):
            loss = criterion(network.predict(model(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after_step(step)

    return turn


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)
