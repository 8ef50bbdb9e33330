"""What recording costs: a training step with diag over the same step without.

The limits are what every user should be able to count on: 1.25 × at every step (1.4 × for twenty layers
of 256, whose steps are short), 1.05 × at every tenth, 1.01 × at every hundredth.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

import diag
import scratchnet as sn
from benchmarks.timing import Row, ratios, row

CASES = {
    "MLP 784-512-512-10, batch 128": ((784, 512, 512, 10), 128, {1: 1.25, 10: 1.05, 100: 1.01}),
    "MLP of 20 layers of 256, batch 64": ((*[256] * 20, 10), 64, {1: 1.40, 10: 1.05, 100: 1.01}),
}
STEPS_A_TURN = 100
TURNS = 9
WARM_UP = 2


def run() -> Iterator[Row]:
    """Measures every case at every cadence, with the whole default set and both sinks."""
    for case, (widths, batch, limits) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            recorders: list[diag.Recorder] = []
            sides = {
                every: _training(widths, batch, Path(folder) / str(every), every, recorders)
                for every in limits
            }
            found = ratios(
                _training(widths, batch),
                {str(every): side for every, side in sides.items()},
                turns=TURNS,
                warm_up=WARM_UP,
            )
            for recorder in recorders:
                recorder.close()
        for every, limit in limits.items():
            yield row(f"{case}, every {every}", found[str(every)], limit, unit="× the step without")


def _training(
    widths: tuple[int, ...],
    batch: int,
    folder: Path | None = None,
    every: int = 1,
    recorders: list[diag.Recorder] | None = None,
) -> Callable[[], None]:
    """A function that trains for one turn, recorded if there is a folder."""
    rng = np.random.default_rng(0)
    layers: list[sn.nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [sn.nn.Linear(inputs, outputs, rng=rng), sn.nn.ReLU()]
    model = sn.nn.Sequential(*layers, sn.nn.Linear(widths[-2], widths[-1], rng=rng))
    optimizer = sn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = sn.nn.CrossEntropyLoss()
    x = rng.standard_normal((batch, widths[0])).astype(np.float32)
    y = rng.integers(0, widths[-1], batch)
    if folder is not None and recorders is not None:
        recorders.append(diag.Recorder(folder, every=every))
        recorders[-1].watch(model, optimizer, criterion=criterion)

    def turn() -> None:
        for _ in range(STEPS_A_TURN):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return turn
