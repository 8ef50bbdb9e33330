"""Optimisers: first steps by hand, groups, hooks. Their long run is in the twins' tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.tape import Array
from tests.scratchnet.optimizers.every import (
    EVERY,
    every_optimizer,
    every_plain_optimizer,
    give,
    network,
    parameter,
    train,
)


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
