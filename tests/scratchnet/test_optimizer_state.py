"""An optimiser's saved state: training goes on from it to the last bit, PyTorch's serves as well."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim

EVERY: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD with momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.2),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.3),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.01, centered=True, momentum=0.5),
    "Adadelta": lambda params: optim.Adadelta(params),
    "Adam": lambda params: optim.Adam(params, lr=0.01, amsgrad=True),
    "AdamW": lambda params: optim.AdamW(params, lr=0.01),
    "NAdam": lambda params: optim.NAdam(params, lr=0.01),
    "RAdam": lambda params: optim.RAdam(params, lr=0.01),
    "Lion": lambda params: optim.Lion(params, lr=0.01),
    "Muon": lambda params: optim.Muon(params, lr=0.01),
    "Shampoo": lambda params: optim.Shampoo(params, momentum=0.9, update_interval=4),
    "LBFGS": lambda params: optim.LBFGS(params, lr=0.1, max_iter=2),
    "LBFGS with line search": lambda params: optim.LBFGS(params, max_iter=2, line_search_fn="strong_wolfe"),
    "SAM": lambda params: optim.SAM(optim.AdamW(params, lr=0.01), rho=0.1),
}
every_optimizer = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def matrices() -> list[nn.Parameter]:
    """Matrices only, so that Muon can be among the rest."""
    numbers = np.random.default_rng(0)
    return [
        nn.Parameter(numbers.standard_normal(shape, dtype=np.float32)) for shape in ((4, 3), (4, 4), (2, 4))
    ]


def train(params: list[nn.Parameter], optimizer: optim.Optimizer, steps: range) -> None:
    """Steps known by their number: the middle matrix takes part in every other one."""
    for step in steps:
        x = np.random.default_rng(step).standard_normal((8, 3), dtype=np.float32)

        def closure(x: Any = x, uses_all: bool = step % 2 == 0) -> sn.Tensor:
            optimizer.zero_grad()
            hidden = (sn.Tensor(x) @ params[0].T).tanh()
            hidden = (hidden @ params[1].T).tanh() if uses_all else hidden
            loss = ((hidden @ params[2].T - 1.0) ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)


def arrays(params: list[nn.Parameter]) -> list[Any]:
    return [p.numpy().copy() for p in params]


def test_every_optimiser_is_here() -> None:
    classes = [value for value in vars(optim).values() if isinstance(value, type)]
    exported = {kind.__name__ for kind in classes if issubclass(kind, optim.Optimizer)} - {"Optimizer"}
    assert {type(make(matrices())).__name__ for make in EVERY.values()} == exported


@every_optimizer
@pytest.mark.parametrize("half", [1, 5])
def test_ten_steps_are_five_and_five_from_what_was_saved(
    make: Callable[[Any], optim.Optimizer], half: int
) -> None:
    straight, halved = matrices(), matrices()
    train(straight, make(straight), range(10))
    optimizer = make(halved)
    train(halved, optimizer, range(half))
    saved = optimizer.state_dict()
    fresh = [nn.Parameter(array) for array in arrays(halved)]
    second = make(fresh)
    second.load_state_dict(saved)
    train(fresh, second, range(half, 10))
    for ours, theirs in zip(arrays(fresh), arrays(straight), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_optimizer
def test_what_was_saved_is_a_copy_and_stays_as_it_was(make: Callable[[Any], optim.Optimizer]) -> None:
    params = matrices()
    optimizer = make(params)
    train(params, optimizer, range(3))
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    twin = [nn.Parameter(array) for array in arrays(params)]
    loaded = make(twin)
    loaded.load_state_dict(saved)
    train(twin, loaded, range(3, 6))
    train(params, optimizer, range(3, 6))
    np.testing.assert_equal(saved, before)


@every_optimizer
def test_a_state_is_arrays_numbers_and_positions(make: Callable[[Any], optim.Optimizer]) -> None:
    params = matrices()
    optimizer = make(params)
    assert optimizer.state_dict()["state"] == {}
    train(params, optimizer, range(2))
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["params"] == [0, 1, 2]
    json.dumps(saved["param_groups"])
    for entry in saved["state"].values():
        assert all(isinstance(value, int | float | np.ndarray) for value in entry.values())


def test_hyperparameters_come_with_the_state_and_so_does_what_a_schedule_wrote_into_a_group() -> None:
    first, second = optim.SGD(matrices(), lr=0.1), optim.SGD(matrices(), lr=0.3)
    first.param_groups[0]["initial_lr"] = 1.0
    second.load_state_dict(first.state_dict())
    assert (second.param_groups[0]["lr"], second.param_groups[0]["initial_lr"]) == (0.1, 1.0)


def test_positions_run_over_all_groups() -> None:
    params = matrices()
    optimizer = optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.1}])
    train(params, optimizer, range(1))
    saved = optimizer.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1, 2]]
    assert [saved["state"][position]["exp_avg"].shape for position in range(3)] == [(4, 3), (4, 4), (2, 4)]


# ---------------------------------------------------------------------------------------- from PyTorch

TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD with momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    "Adagrad": ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    "RMSprop": ("RMSprop", {"centered": True, "momentum": 0.5}),
    "Adadelta": ("Adadelta", {}),
    "AdamW": ("AdamW", {"amsgrad": True}),
    "NAdam": ("NAdam", {}),
    "RAdam": ("RAdam", {}),
    "LBFGS": ("LBFGS", {"lr": 0.1, "max_iter": 2, "history_size": 3}),
}


@pytest.mark.parametrize(("name", "options"), TORCH.values(), ids=TORCH)
def test_training_goes_on_from_pytorch_s_state(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    twins = [torch.nn.Parameter(torch.tensor(p.numpy())) for p in matrices()]
    theirs = getattr(torch.optim, name)(twins, **options)

    def learn(steps: range) -> None:
        for step in steps:
            x = torch.tensor(np.random.default_rng(step).standard_normal((8, 3), dtype=np.float32))

            def closure(x: Any = x, uses_all: bool = step % 2 == 0) -> Any:
                theirs.zero_grad()
                hidden = (x @ twins[0].T).tanh()
                hidden = (hidden @ twins[1].T).tanh() if uses_all else hidden
                loss = ((hidden @ twins[2].T - 1.0) ** 2).mean()
                loss.backward()
                return loss.detach()

            theirs.step(closure)

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.numpy().copy()
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list) else value

    learn(range(5))
    params = [nn.Parameter(twin.detach().numpy().copy()) for twin in twins]
    ours = getattr(optim, name)(params)
    ours.load_state_dict(plain(theirs.state_dict()))
    learn(range(5, 10))
    train(params, ours, range(5, 10))
    for p, twin in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------- errors


def stepped(make: Callable[[Any], optim.Optimizer], params: list[nn.Parameter]) -> dict[str, Any]:
    optimizer = make(params)
    train(params, optimizer, range(1))
    return optimizer.state_dict()


def test_state_of_other_groups_is_refused() -> None:
    saved = stepped(optim.Adam, matrices())
    with pytest.raises(ValueError, match=r"Adam needs groups of \[2\] parameters, got groups of \[3\]"):
        optim.Adam(matrices()[:2]).load_state_dict(saved)


def test_state_of_another_optimiser_is_refused() -> None:
    saved = stepped(optim.SGD, matrices())
    with pytest.raises(ValueError, match=r"Adam needs \['amsgrad', 'betas',.* is it another optimiser's\?"):
        optim.Adam(matrices()).load_state_dict(saved)


@pytest.mark.parametrize("kind", [optim.Adam, optim.Muon, optim.Shampoo])
def test_state_of_other_shapes_is_refused_and_changes_nothing(kind: Any) -> None:
    saved = stepped(kind, matrices())
    optimizer = kind([nn.Parameter(np.ones((7, 5), np.float32)) for _ in range(3)])
    with pytest.raises(ValueError, match=r"needs '\w+' of shape \(7, 5\), got \(\d, \d\)"):
        optimizer.load_state_dict(saved)
    assert optimizer.state_dict()["state"] == {}


def test_l_bfgs_s_memory_of_other_weights_is_refused() -> None:
    saved = stepped(optim.LBFGS, matrices())
    others = [nn.Parameter(np.ones((7, 5), np.float32)) for _ in range(3)]
    with pytest.raises(ValueError, match="LBFGS needs a memory of 105 weights, got one of 36"):
        optim.LBFGS(others).load_state_dict(saved)


def test_a_saved_hyperparameter_out_of_range_is_refused() -> None:
    saved = stepped(optim.SGD, matrices())
    saved["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"SGD needs lr >= 0, got lr=-1\.0"):
        optim.SGD(matrices()).load_state_dict(saved)
