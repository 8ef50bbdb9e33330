"""How fast scratchnet is: against PyTorch on the CPU, against gradients by hand, and in memory.

Both sides train on the same numbers from the same weights, with the same number of threads, in turns.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import scratchnet as sn
from benchmarks import memory
from benchmarks.by_hand import gradient_by_hand
from benchmarks.networks import NETWORKS, PERCEPTRONS, Network, train_both
from benchmarks.timing import Row, ratios, row

TURNS = 11
WARM_UP = 2
DEAREST_GRADIENT = 1.2
DEAREST_PRODUCT = 3.0


def run() -> Iterator[Row]:
    """Measures training steps, then gradients and Hessian-vector products, then memory."""
    for network in NETWORKS:
        mine, other = train_both(network)
        found = ratios(mine, {"torch": other}, turns=TURNS, warm_up=WARM_UP)["torch"]
        yield row(network.name, found, network.limit, unit="PyTorch / scratchnet", at_least=True)
    for network in PERCEPTRONS[1:]:
        yield from _derivatives(network)
    for network in NETWORKS:
        yield row(f"peak memory, {network.name}", [memory.ratio(network)], memory.LIMIT, unit="× PyTorch's")


def _derivatives(network: Network) -> Iterator[Row]:
    model, criterion = network.make(sn.nn), network.criterion(sn.nn)
    x, y = network.data()
    parameters = list(model.parameters())
    optimizer = sn.optim.SGD(parameters, lr=0.1)  # lays the parameters out, as in training
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal(p.shape).astype(np.float32) for p in parameters]
    product = sn.make_hvp(lambda: criterion(model(x), y), parameters)

    def gradient() -> None:
        optimizer.zero_grad()
        criterion(model(x), y).backward()

    by_hand = gradient_by_hand([p.numpy() for p in parameters], x, y)
    found = ratios(
        _repeated(by_hand, network.steps),
        {"gradient": _repeated(gradient, network.steps)},
        turns=TURNS,
        warm_up=WARM_UP,
    )
    yield row(f"gradient, {network.name}", found["gradient"], DEAREST_GRADIENT, unit="× by hand")
    found = ratios(
        _repeated(gradient, network.steps),
        {"product": _repeated(lambda: product(vectors), network.steps)},
        turns=TURNS,
        warm_up=WARM_UP,
    )
    yield row(
        f"Hessian-vector product, {network.name}", found["product"], DEAREST_PRODUCT, unit="× a gradient"
    )


def _repeated(work: Callable[[], Any], times: int) -> Callable[[], None]:
    def turn() -> None:
        for _ in range(times):
            work()

    return turn
