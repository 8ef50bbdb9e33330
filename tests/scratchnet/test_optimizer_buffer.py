"""The flat vector of an optimiser: whose arrays it holds, what it costs, and that nobody notices it."""

import copy
import gc
import pickle
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.optim import flat
from tests.scratchnet.optimizers.every import (
    every_optimizer,
    every_plain_optimizer,
    give,
    network,
    parameter,
    train,
)


@every_optimizer
def test_parameters_are_views_of_one_vector_and_so_are_their_gradients(
    make: Callable[[Any], optim.Optimizer],
) -> None:
    model = network()
    before = model.state_dict()
    optimizer = make(model.parameters())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    train(model, optimizer, 1)
    parameters = list(model.parameters())
    for arrays in ([p.array for p in parameters], [np.asarray(p.grad) for p in parameters]):
        assert len({id(array.base) for array in arrays}) == 1
        assert arrays[0].base is not None
        assert arrays[0].base.size == sum(p.size for p in parameters)


@every_optimizer
def test_a_model_that_changes_its_dtype_afterwards_still_trains(
    make: Callable[[Any], optim.Optimizer],
) -> None:
    late, early = network(), network().double()
    late_optimizer = make(late.parameters())
    late.double()
    np.testing.assert_array_equal(train(late, late_optimizer, 20), train(early, make(early.parameters()), 20))
    assert {p.dtype for p in late.parameters()} == {np.dtype(np.float64)}


def test_state_follows_the_parameters_into_another_dtype() -> None:
    model, twin = network().double(), network().double()
    optimizer, reference = (optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (model, twin))
    train(model, optimizer, 5)
    train(twin, reference, 5)
    model.float()
    np.testing.assert_allclose(train(model, optimizer, 5), train(twin, reference, 5), rtol=1e-4)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def test_an_array_that_somebody_swaps_in_is_the_one_that_moves() -> None:
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=1.0)
    p.array = np.array([10.0])
    give(p, 1.0)
    optimizer.step()
    assert p.numpy() == [9.0]


def test_a_gradient_that_somebody_swaps_in_is_the_one_that_counts() -> None:
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=1.0)
    give(p, 1.0)
    p.grad = sn.Tensor(np.array([5.0]))
    optimizer.step()
    assert p.numpy() == [-4.0]


def test_a_gradient_from_before_the_optimiser_counts() -> None:
    p = parameter(1.0)
    give(p, 3.0)
    optimizer = optim.SGD([p], lr=1.0)
    give(p, 1.0)
    optimizer.step()
    assert p.numpy() == [-3.0]


def test_gradients_add_up_over_backward_passes_until_they_are_forgotten() -> None:
    p = parameter(0.0)
    optimizer = optim.SGD([p], lr=1.0)
    give(p, 1.0)
    give(p, 2.0)
    optimizer.step()
    assert p.numpy() == [-3.0]
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()
    assert p.numpy() == [-3.0]


@every_plain_optimizer
def test_a_parameter_without_a_gradient_stays_where_it_is(make: Callable[[Any], optim.Optimizer]) -> None:
    parts = [parameter(1.0), parameter(2.0), parameter(3.0)]
    optimizer = make(parts)
    give(parts[0], 1.0)
    give(parts[2], 1.0)
    optimizer.step()
    assert parts[1].numpy() == [2.0]
    assert parts[0].numpy() < 1.0
    assert parts[2].numpy() < 3.0


def test_a_frozen_parameter_stays_where_it_is() -> None:
    model = network()
    model[0].weight.requires_grad = False  # type: ignore[attr-defined]
    before = model.state_dict()
    train(model, optim.AdamW(model.parameters(), lr=0.1), 3)
    unmoved = [name for name, array in model.state_dict().items() if np.array_equal(array, before[name])]
    assert unmoved == ["0.weight"]


def test_two_optimisers_may_take_turns_on_the_same_parameters() -> None:
    p = parameter(0.0)
    first, second = optim.SGD([p], lr=1.0), optim.SGD([p], lr=10.0)
    give(p, 1.0)
    for optimizer in (first, second, first):
        optimizer.step()
    assert p.numpy() == [-12.0]


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],  # noqa: S301 - what this process wrote
    ids=["deepcopy", "pickle"],
)
@every_optimizer
def test_a_copy_of_model_and_optimiser_trains_on_by_itself(
    make: Callable[[Any], optim.Optimizer], duplicate: Callable[[Any], Any]
) -> None:
    model = network()
    optimizer = make(model.parameters())
    optimizer.register_step_pre_hook(lambda _: None)
    train(model, optimizer, 3)
    twin, twin_optimizer = duplicate((model, optimizer))
    before = model.state_dict()
    losses = train(twin, twin_optimizer, 5)
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert losses == train(model, optimizer, 5)


# ---------------------------------------------------------------------------------------------- speed


@every_optimizer
def test_an_update_is_the_same_however_the_vector_is_cut(
    make: Callable[[Any], optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = network(), network()
    expected = train(whole, make(whole.parameters()), 5)
    monkeypatch.setattr(flat, "BLOCK", 7)
    optimizer = make(cut.parameters())
    np.testing.assert_allclose(train(cut, optimizer, 5), expected, rtol=1e-6)
    for name, array in whole.state_dict().items():
        np.testing.assert_allclose(cut.state_dict()[name], array, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "NAdam", "RAdam", "Lion"])
def test_a_step_needs_no_new_memory(name: str) -> None:
    big = nn.Parameter(np.ones(300_000, np.float32))
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    optimizer = getattr(optim, name)([big], weight_decay=0.1, **options)
    (big * big).sum().backward()
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


@every_optimizer
def test_an_optimiser_s_memory_is_given_back_without_the_garbage_collector(
    make: Callable[[Any], optim.Optimizer],
) -> None:
    model = network()
    optimizer = make(model.parameters())
    train(model, optimizer, 2)
    buffer = weakref.ref(optimizer._buffers[0])
    gc.collect()
    gc.disable()
    try:
        del optimizer
        assert buffer() is None
    finally:
        gc.enable()


@every_optimizer
def test_float32_stays_float32(make: Callable[[Any], optim.Optimizer]) -> None:
    model = network()
    optimizer = make(model.parameters())
    optimizer.param_groups[0]["lr"] = np.float64(0.01)  # as a schedule computes it
    train(model, optimizer, 3)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    flat_state = [array for buffer in optimizer._buffers for array in buffer._flat_memory.values()]
    assert {array.dtype for array in flat_state} <= {np.dtype(np.float32)}
