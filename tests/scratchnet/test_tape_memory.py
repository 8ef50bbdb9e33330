"""The tape in memory: what it keeps, when it lets go, and how deep it may become."""

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.tape import Array

DEEP = 20_000


def leaf(value: Any) -> sn.Tensor:
    return sn.Tensor(np.asarray(value, float), requires_grad=True)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Whatever is freed in the test is freed by its last reference, not by the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ---------------------------------------------------------------------------------------------- depth


def chain(x: sn.Tensor, length: int = DEEP) -> sn.Tensor:
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_deep_graph_does_not_overflow_the_stack_on_its_way_back() -> None:
    x = leaf([1.0, 2.0])
    chain(x).sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), [1.0, 1.0])


def test_a_deep_graph_that_is_never_gone_back_through_is_deleted_without_overflow() -> None:
    x = leaf([1.0, 2.0])
    y = chain(x)
    assert y.node is not None
    assert y.node.depth == DEEP
    del y


def test_a_deep_graph_can_be_differentiated_twice() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(DEEP):
        y = y * 1.0
    (slope,) = sn.grad(y * y, [x], create_graph=True)
    (curvature,) = sn.grad(slope, [x])
    assert (slope.item(), curvature.item()) == (1.0, 2.0)


# -------------------------------------------------------------------------------------- what is kept


def test_a_primitive_keeps_only_what_its_rules_read() -> None:
    x = leaf([1.0, 2.0])
    total, exponential, product = (y.node for y in (x + 1.0, x.exp(), x * x))
    assert total is not None
    assert exponential is not None
    assert product is not None
    assert (total.inputs, total.output) == ([None, None], None)
    assert exponential.inputs == [None]
    assert exponential.output is not None
    assert product.output is None
    assert all(kept is x.array for kept in product.inputs)


def hidden_and_loss() -> tuple["weakref.ref[Array]", sn.Tensor]:
    """A loss, and a weak reference to an array that its tape needs for the way back."""
    x = leaf(np.ones(8))
    hidden = x * 2.0
    return weakref.ref(hidden.array), (hidden * hidden).sum()


@pytest.mark.usefixtures("without_collector")
def test_backward_lets_the_arrays_go_while_the_loss_is_still_held() -> None:
    array, loss = hidden_and_loss()
    assert array() is not None
    loss.backward()
    assert array() is None


@pytest.mark.usefixtures("without_collector")
def test_a_loss_that_is_dropped_without_backward_lets_its_arrays_go() -> None:
    array, loss = hidden_and_loss()
    del loss
    assert array() is None


@pytest.mark.usefixtures("without_collector")
def test_a_twice_differentiable_gradient_that_is_dropped_lets_everything_go() -> None:
    x = leaf(np.ones(8))
    hidden = x * 2.0
    array = weakref.ref(hidden.array)
    loss = (hidden * hidden * hidden).sum()
    (slope,) = sn.grad(loss, [x], create_graph=True)
    sn.grad(slope.sum(), [x], retain_graph=True)
    del hidden, loss
    assert array() is not None  # the slope needs it
    del slope
    assert array() is None


@pytest.mark.usefixtures("without_collector")
def test_an_array_that_no_rule_reads_is_let_go_at_once() -> None:
    hidden = leaf(np.ones(8)) * 2.0
    array = weakref.ref(hidden.array)
    later = hidden + 1.0
    del hidden
    assert array() is None
    later.sum().backward()


@pytest.mark.usefixtures("without_collector")
def test_memory_stays_flat_over_five_thousand_steps(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((16, 8)), rng.integers(0, 4, 16)
    model = nn.Sequential(nn.Linear(8, 32, rng=0), nn.ReLU(), nn.Linear(32, 4, rng=1))
    model.register_forward_hook(lambda *_: None)
    model[0].register_backward_hook(lambda *_: None)
    optimizer = optim.Adam(model.parameters())
    criterion = nn.CrossEntropyLoss()

    def train(steps: int) -> int:
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = train(20)
        grown = train(5000) - before
    finally:
        tracemalloc.stop()
    assert grown < 5000 * 8  # one reference leaked a step would be more
