"""Optimisers: first steps by hand, the flat buffer, hooks, errors. Their long run is in the twins' tests."""

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
from scratchnet.tape import Array


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(np.array(values))


def give(p: nn.Parameter, *gradient: float) -> None:
    """Adds a gradient to a parameter by a backward pass."""
    (p * np.array(gradient)).sum().backward()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> list[float]:
    x = np.random.default_rng(0).standard_normal((16, 3))
    y = (x.sum(axis=1) > 0).astype(int)

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


EVERY: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD with momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.1, initial_accumulator_value=0.1),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.02, centered=True, momentum=0.5),
    "Adadelta": lambda params: optim.Adadelta(params, lr=3.0, eps=1e-3),
    "Adam": lambda params: optim.Adam(params, lr=0.1, amsgrad=True),
    "AdamW": lambda params: optim.AdamW(params, lr=0.1),
    "NAdam": lambda params: optim.NAdam(params, lr=0.1),
    "RAdam": lambda params: optim.RAdam(params, lr=0.1),
    "Lion": lambda params: optim.Lion(params, lr=0.03, weight_decay=0.01),
    "Shampoo": lambda params: optim.Shampoo(params, lr=0.1, momentum=0.5, update_interval=3),
    "LBFGS": lambda params: optim.LBFGS(params, lr=0.1, max_iter=2),
    "LBFGS with line search": lambda params: optim.LBFGS(params, max_iter=2, line_search_fn="strong_wolfe"),
    "SAM": lambda params: optim.SAM(optim.Adam(params, lr=0.1)),
}
WITHOUT_CLOSURE = {
    name: make for name, make in EVERY.items() if make([nn.Parameter(np.ones(1))]).needs_closure is False
}
every_optimizer = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
every_plain_optimizer = pytest.mark.parametrize("make", WITHOUT_CLOSURE.values(), ids=WITHOUT_CLOSURE)


def test_every_optimiser_is_here() -> None:
    classes = [value for value in vars(optim).values() if isinstance(value, type)]
    exported = {kind.__name__ for kind in classes if issubclass(kind, optim.Optimizer)}
    kinds = {type(make([nn.Parameter(np.ones(1))])).__name__ for make in EVERY.values()}
    # Muon takes matrices only: it is among the twins and the rules.
    assert kinds == exported - {"Optimizer", "Muon"}


# ------------------------------------------------------------------------------------------ first steps


def test_sgd_goes_against_the_gradient() -> None:
    p = parameter(1.0, 2.0)
    give(p, 10.0, -10.0)
    optim.SGD([p], lr=0.1).step()
    np.testing.assert_allclose(p.numpy(), [0.0, 3.0], atol=1e-15)


def test_sgd_climbs_if_told_to() -> None:
    p = parameter(1.0)
    give(p, 10.0)
    optim.SGD([p], lr=0.1, maximize=True).step()
    np.testing.assert_allclose(p.numpy(), [2.0])


@pytest.mark.parametrize(
    ("options", "after_two"),
    [
        ({"momentum": 0.5}, -(1 + 1.5)),
        ({"momentum": 0.5, "dampening": 0.5}, -(1 + 1.0)),
        ({"momentum": 0.5, "nesterov": True}, -(1.5 + 1.75)),
        ({"weight_decay": 0.5}, -(1 + 0.5)),
    ],
    ids=["momentum", "dampening", "nesterov", "weight decay"],
)
def test_two_steps_of_sgd_are_what_its_formula_says(options: dict[str, Any], after_two: float) -> None:
    p = parameter(0.0)
    optimizer = optim.SGD([p], lr=1.0, **options)
    for _ in range(2):
        optimizer.zero_grad()
        give(p, 1.0)
        optimizer.step()
    assert p.numpy()[0] == pytest.approx(after_two)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_adam_s_first_step_is_the_learning_rate_whatever_the_gradient_s_size(size: float) -> None:
    p = parameter(0.0, 0.0)
    optimizer = optim.Adam([p], lr=0.1)
    give(p, size, -size)
    optimizer.step()
    np.testing.assert_allclose(p.numpy(), [-0.1, 0.1], rtol=2e-5)


def test_adamw_shrinks_the_weights_apart_from_adam_s_step() -> None:
    p = parameter(2.0)
    give(p, 1.0)
    optim.AdamW([p], lr=0.1, weight_decay=0.5).step()
    assert p.numpy()[0] == pytest.approx(2.0 * (1 - 0.05) - 0.1)


@every_optimizer
def test_every_optimiser_brings_a_loss_down(make: Callable[[Any], optim.Optimizer]) -> None:
    model = network()
    losses = train(model, make(model.parameters()), 60)
    assert losses[-1] < 0.7 * losses[0]


# -------------------------------------------------------------------------------------- the flat buffer


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


# --------------------------------------------------------------------------------------------- groups


def test_each_group_has_its_own_hyperparameters_and_the_rest_by_default() -> None:
    a, b = parameter(0.0), parameter(0.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": iter([b]), "lr": 10.0}], lr=1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 10.0]
    give(a, 1.0)
    give(b, 1.0)
    optimizer.step()
    assert [a.item(), b.item()] == [-1.0, -10.0]


def test_a_learning_rate_that_changes_takes_effect_at_the_next_step() -> None:
    p = parameter(0.0)
    optimizer = optim.SGD([p], lr=1.0)
    give(p, 1.0)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert p.numpy() == [-1.5]


def test_a_group_that_is_added_later_moves_too() -> None:
    a, b = parameter(0.0), parameter(0.0)
    optimizer = optim.SGD([a], lr=1.0)
    optimizer.add_param_group({"params": b, "lr": 10.0})
    give(a, 1.0)
    give(b, 1.0)
    optimizer.step()
    assert [a.item(), b.item()] == [-1.0, -10.0]


def test_a_group_may_be_empty_beside_another() -> None:
    p = parameter(0.0)
    optimizer = optim.SGD([{"params": [p]}, {"params": []}], lr=1.0)
    give(p, 1.0)
    optimizer.step()
    assert p.item() == -1.0


def test_groups_may_differ_in_dtype() -> None:
    a, b = parameter(0.0), nn.Parameter(np.zeros(1, np.float32))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b]}], lr=1.0)
    give(a, 1.0)
    give(b, 1.0)
    optimizer.step()
    assert [str(a.dtype), str(b.dtype)] == ["float64", "float32"]


# ---------------------------------------------------------------------------------------------- hooks


@every_plain_optimizer
def test_hooks_see_old_and_new_weights_and_the_final_gradient(make: Callable[[Any], optim.Optimizer]) -> None:
    p = parameter(1.0)
    optimizer, seen = make([p]), []

    def look(told: optim.Optimizer) -> None:
        assert told is optimizer
        seen.append((p.numpy().item(), np.asarray(p.grad).item()))

    optimizer.register_step_pre_hook(look)
    optimizer.register_step_post_hook(look)
    give(p, 1.0)
    p.grad = sn.Tensor(np.array([2.0]))
    optimizer.step()
    assert seen == [(1.0, 2.0), (p.numpy().item(), 2.0)]
    assert seen[1][0] < 1.0


def test_a_gradient_that_a_pre_hook_writes_into_is_used() -> None:
    p = parameter(0.0)
    optimizer = optim.SGD([p], lr=1.0)

    def clip(_: optim.Optimizer) -> None:
        gradient: Array = np.asarray(p.grad)
        gradient *= 0.5

    handle = optimizer.register_step_pre_hook(clip)
    give(p, 4.0)
    optimizer.step()
    assert p.numpy() == [-2.0]
    handle.remove()
    optimizer.step()
    assert p.numpy() == [-4.0]


@every_optimizer
def test_hooks_hear_a_step_with_a_closure_once_the_gradients_are_there_and_before_weights_move(
    make: Callable[[Any], optim.Optimizer],
) -> None:
    p = parameter(1.0)
    optimizer, seen = make([p]), []
    optimizer.register_step_pre_hook(lambda _: seen.append((p.item(), p.grad is not None)))
    optimizer.register_step_post_hook(lambda _: seen.append((p.item(), p.grad is not None)))

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == 1.0
    assert seen == [(1.0, True), (p.item(), True)]
    assert p.item() < 1.0


def test_a_step_without_a_closure_returns_nothing() -> None:
    p = parameter(1.0)
    give(p, 1.0)
    assert optim.SGD([p]).step() is None


def test_a_closure_is_recorded_even_where_nothing_else_is() -> None:
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> sn.Tensor:
        loss = (p * p).sum()
        loss.backward()
        return loss

    with sn.no_grad():
        optimizer.step(closure)
    assert p.item() == 0.5


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
