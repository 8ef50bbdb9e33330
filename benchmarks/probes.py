"""How fast the cheap probes go over their arrays: GB/s, beside a plain sum over the same arrays.

Whoever measures must read the arrays once at least, which is what a sum does. A probe holds if it is no
slower than a third of the sum, taken turn by turn in the same library; those that do not say "no".
"""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.threads import one_thread
from benchmarks.timing import Row, ratios
from probes import Probe, catalogue

SHAPE = (1024, 2048)
TENSORS = 16
CALLS_A_TURN = 3
TURNS = 7
WARM_UP = 2
LEAST_SHARE = 1 / 3

LIBRARIES: dict[str, Callable[[NDArray[Any]], Any]] = {"NumPy": np.asarray, "PyTorch": torch.asarray}
_NUMBERS: dict[str, tuple[float, ...]] = {"limits": (-3.0, 3.0), "learning_rate": (0.1,)}
_ONE_ARRAY = {"activation", "output_gradient", "weight", "gradient", "update", "array", "slope"}
_SHAPES = {"attention_logits": (8, 16, 128, 128)}


def run() -> Iterator[Row]:
    """Measures every cheap probe that eats whole arrays, in each library: those of one array, then of two."""
    cheap = [entry for entry in catalogue() if entry.cost == "cheap" and _is_served(entry)]
    for library in LIBRARIES:
        for count in (1, 2):
            entries = [
                entry for entry in cheap if sum(food not in _NUMBERS for food in _foods(entry)) == count
            ]
            with one_thread():
                rows = list(_beside_a_sum(library, count, entries))
            yield from rows


def _beside_a_sum(library: str, count: int, entries: Sequence[Probe]) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    arrays = [LIBRARIES[library](rng.standard_normal(SHAPE).astype(np.float32)) for _ in range(count)]
    took: list[float] = []

    def plain_sums() -> None:
        start = time.perf_counter()
        for _ in range(CALLS_A_TURN):
            for array in arrays:
                array.sum()
        took.append(time.perf_counter() - start)

    sides = {entry.name: _repeated(entry, arrays) for entry in entries}
    found = ratios(plain_sums, sides, turns=TURNS, warm_up=WARM_UP)
    speeds = [
        CALLS_A_TURN * sum(array.nbytes for array in arrays) / 1e9 / seconds for seconds in took[WARM_UP:]
    ]
    speed = median(speeds)
    read = "one array" if count == 1 else f"{count} arrays"
    yield Row(f"{library}: plain sum, {read}", speed, "GB/s", None, min(speeds))
    for name, slower in found.items():
        yield Row(
            f"{library}: {name}",
            speed / median(slower),
            "GB/s",
            speed * LEAST_SHARE,
            speed / max(slower),
            at_least=True,
        )


def _repeated(entry: Probe, arrays: Sequence[Any]) -> Callable[[], None]:
    meal = _meal(entry, arrays)

    def turn() -> None:
        for _ in range(CALLS_A_TURN):
            entry.function(*meal)

    return turn


def _meal(entry: Probe, arrays: Sequence[Any]) -> list[Any]:
    """The probe's arguments: the arrays as each food has them, and the numbers that go with them."""
    meal: list[Any] = []
    fresh = iter(arrays)
    for food in _foods(entry):
        if food in _NUMBERS:
            meal += _NUMBERS[food]
        elif food == "gradients":
            meal.append(list(next(fresh).reshape(TENSORS, -1)))
        else:
            meal.append(next(fresh).reshape(_SHAPES.get(food, SHAPE)))
    return meal


def _foods(entry: Probe) -> tuple[str, ...]:
    return entry.eats if isinstance(entry.eats, tuple) else (entry.eats,)


def _is_served(entry: Probe) -> bool:
    return set(_foods(entry)) <= _ONE_ARRAY | {"gradients"} | _SHAPES.keys() | _NUMBERS.keys()
