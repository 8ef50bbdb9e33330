"""Weights that are derived from others: what they promise, and how they come and go."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.nn.utils.parametrizations import remove_parametrizations, spectral_norm, weight_norm

X = np.random.default_rng(0).standard_normal((5, 4))


def layer() -> nn.Linear:
    return nn.Linear(4, 3, rng=0).double()


DERIVATIONS: dict[str, Callable[[nn.Linear], nn.Linear]] = {
    "weight_norm": weight_norm,
    "weight_norm of the whole": lambda module: weight_norm(module, dim=None),
    "spectral_norm": lambda module: spectral_norm(module, rng=1),
}
every_derivation = pytest.mark.parametrize("derive", DERIVATIONS.values(), ids=DERIVATIONS)


def test_weight_norm_changes_nothing_at_first() -> None:
    np.testing.assert_allclose(weight_norm(layer())(X).numpy(), layer()(X).numpy(), rtol=1e-14)


def test_weight_norm_learns_length_and_direction_apart() -> None:
    module = weight_norm(layer())
    state = module.state_dict()
    np.testing.assert_allclose(
        np.linalg.norm(module.weight.numpy(), axis=1, keepdims=True),
        state["parametrizations.weight.original0"],
        rtol=1e-14,
    )
    (module(X) ** 2).sum().backward()
    direction = dict(module.named_parameters())["parametrizations.weight.original1"]
    assert direction.grad is not None
    # A longer direction would be the same weight.
    np.testing.assert_allclose((direction.grad.numpy() * direction.numpy()).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (6, 6), (2, 9)], ids=str)
def test_spectral_norm_makes_the_largest_singular_value_one(shape: tuple[int, int]) -> None:
    module = spectral_norm(nn.Linear(shape[1], shape[0], rng=0).double(), n_power_iterations=500, rng=1)
    values = np.linalg.svd(module.weight.numpy(), compute_uv=False)
    assert values[0] == pytest.approx(1, rel=1e-9)
    assert (values[1:] < 1).all()


def test_power_iteration_runs_in_training_mode_only() -> None:
    module = spectral_norm(layer(), rng=1)
    before = module.state_dict()
    module.eval()(X)
    assert all(np.array_equal(before[name], array) for name, array in module.state_dict().items())
    module.train()(X)
    assert not np.array_equal(
        before["parametrizations.weight.0._u"], module.state_dict()["parametrizations.weight.0._u"]
    )


def test_spectral_norm_follows_pytorch_s_through_training() -> None:
    torch = pytest.importorskip("torch")
    other = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 3).double())
    mine = spectral_norm(layer())
    mine.load_state_dict({name: value.numpy() for name, value in other.state_dict().items()})
    theirs = torch.optim.SGD(other.parameters(), lr=0.1)
    ours = optim.SGD(mine.parameters(), lr=0.1)
    for _ in range(5):
        for model, optimizer, x in ((mine, ours, X), (other, theirs, torch.as_tensor(X))):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
    assert list(mine.state_dict()) == list(other.state_dict())
    for name, value in other.state_dict().items():
        np.testing.assert_allclose(
            mine.state_dict()[name], value.numpy(), rtol=1e-9, atol=1e-11, err_msg=name
        )


@every_derivation
def test_an_optimiser_moves_the_originals_and_the_weight_follows(derive: Any) -> None:
    module = derive(layer())
    optimizer = optim.SGD(module.parameters(), lr=0.1)
    before, names = module.weight.numpy().copy(), [name for name, _ in module.named_parameters()]
    assert "weight" not in names
    (module(X) ** 2).sum().backward()
    optimizer.step()
    assert np.abs(module.weight.numpy() - before).max() > 1e-3


@every_derivation
def test_copies_and_pickles_derive_their_own_weights(derive: Any) -> None:
    module = derive(layer()).eval()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - written here
        np.testing.assert_array_equal(twin(X).numpy(), module(X).numpy())
        for parameter in twin.parameters():
            parameter.array *= 2
        assert not np.array_equal(twin(X).numpy(), module(X).numpy())


@every_derivation
def test_what_is_removed_leaves_an_ordinary_parameter_of_the_same_value(derive: Any) -> None:
    module = derive(layer()).eval()
    expected = module(X).numpy()
    assert remove_parametrizations(module) is module
    assert list(module.state_dict()) == ["bias", "weight"]
    assert isinstance(module.weight, nn.Parameter)
    np.testing.assert_allclose(module(X).numpy(), expected, rtol=1e-14)
    assert not any(module.children())


def test_two_weights_of_one_module_are_derived_and_removed_apart() -> None:
    module = spectral_norm(weight_norm(layer()), "bias")
    assert module.bias is not None
    assert float(np.linalg.norm(module.bias.numpy())) == pytest.approx(1, rel=1e-14)
    remove_parametrizations(module)
    assert list(module.state_dict()) == ["weight", "parametrizations.bias.original"]
    remove_parametrizations(module, "bias")
    assert list(module.state_dict()) == ["weight", "bias"]


def test_an_unknown_attribute_is_still_an_error() -> None:
    with pytest.raises(AttributeError, match="Linear has no attribute 'wieght'"):
        weight_norm(layer()).wieght  # type: ignore[attr-defined] # noqa: B018


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no such parameter": (
        lambda: weight_norm(layer(), "gain"),
        ValueError,
        r"weight_norm needs a parameter of Linear, 'gain' is none; it has \['weight', 'bias'\]",
    ),
    "derived twice": (
        lambda: spectral_norm(weight_norm(layer())),
        ValueError,
        "spectral_norm needs a parameter of Linear, 'weight' is derived already",
    ),
    "no such axis to weight_norm": (
        lambda: weight_norm(layer(), dim=2),
        ValueError,
        r"weight_norm needs dim in 0\.\.1 or None for 'weight' of shape \(3, 4\), got 2",
    ),
    "no such axis to spectral_norm": (
        lambda: spectral_norm(layer(), dim=2),
        ValueError,
        r"spectral_norm needs an axis of 'weight' of shape \(3, 4\) as dim, got 2",
    ),
    "no iteration": (
        lambda: spectral_norm(layer(), n_power_iterations=0),
        ValueError,
        "spectral_norm needs n_power_iterations >= 1, got 0",
    ),
    "nothing to remove": (
        lambda: remove_parametrizations(layer()),
        ValueError,
        "remove_parametrizations needs a parametrized attribute of Linear, got 'weight'",
    ),
    "a value for a derived weight": (
        lambda: setattr(weight_norm(layer()), "weight", nn.Parameter(np.zeros((3, 4)))),
        AttributeError,
        "Linear derives 'weight' from its parametrization, got a value for it; call remove_parametrizations",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@every_derivation
def test_both_derivatives_of_the_originals_are_exact(derive: Any) -> None:
    module = derive(layer()).eval()
    sn.check_gradients(lambda: (module(X).tanh() ** 2).sum(), list(module.parameters()), rng=0)
