"""Initialisation by the data: layers are scaled until their outputs vary by one."""

from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import init
from scratchnet.tape import Array


def tanh_network(depth: int = 10, width: int = 60) -> nn.Sequential:
    layers: list[nn.Module] = []
    for seed in range(depth):
        layers += [nn.Linear(width, width, rng=seed), nn.Tanh()]
    return nn.Sequential(*layers)


def variances(model: nn.Module, batch: Array) -> list[float]:
    """Of the outputs of every linear layer, in their order of execution."""
    heard: list[float] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [
        layer.register_forward_hook(lambda _layer, _x, y: heard.append(float(y.array.var())))
        for layer in layers
    ]
    model(batch)
    for handle in handles:
        handle.remove()
    return heard


@pytest.fixture
def batch(rng: np.random.Generator) -> Array:
    return rng.normal(1.0, 3.0, (200, 60)).astype(np.float32)


def test_lsuv_gives_every_layer_variance_one_where_xavier_does_not(batch: Array) -> None:
    model = tanh_network()
    for layer in list(model.children())[::2]:
        init.xavier_normal_(layer.weight, rng=0)  # type: ignore[attr-defined]
    before = variances(model, batch)
    assert before[0] > 3
    assert before[-1] < 0.3
    assert init.lsuv_(model, batch, rng=0) is model
    after = variances(model, batch)
    assert len(after) == 10
    np.testing.assert_allclose(after, 1.0, atol=0.1)


def test_lsuv_takes_a_tolerance(batch: Array) -> None:
    model = init.lsuv_(tanh_network().double(), batch, tolerance=1e-9, rng=0)
    np.testing.assert_allclose(variances(model, batch), 1.0, atol=1e-9)


def test_lsuv_keeps_the_weights_orthogonal_and_the_biases_zero(batch: Array) -> None:
    model = init.lsuv_(tanh_network(3).double(), batch, rng=0)
    for layer in model.children():
        if isinstance(layer, nn.Linear):
            gram = layer.weight.numpy() @ layer.weight.numpy().T
            np.testing.assert_allclose(gram, gram[0, 0] * np.eye(60), atol=1e-12)
            assert layer.bias is not None
            assert not layer.bias.numpy().any()


class Backwards(nn.Module):
    """Runs its layers in another order than it holds them, and the first of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(60, 60)
        self.idle = nn.Linear(5, 5)
        self.first = nn.Linear(60, 60, bias=False)
        self.was_training: list[bool] = []

    def forward(self, x: Any) -> Any:
        """See the class."""
        self.was_training.append(self.training)
        return self.last(self.first(self.first(x).tanh()).tanh())


def test_lsuv_goes_by_the_order_of_execution(batch: Array) -> None:
    model = init.lsuv_(Backwards(), batch, rng=0)
    first, _, last = variances(model, batch)
    assert [first, last] == pytest.approx([1, 1], abs=0.1)


def test_lsuv_leaves_modes_listeners_and_the_tape_as_they_were(batch: Array) -> None:
    model = Backwards()
    model.last.eval()
    init.lsuv_(model, batch, rng=0)
    assert not any(model.was_training)
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_lsuv_scales_no_normalisation() -> None:
    class Normalisation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalized_shape = (2, 3)
            self.weight = nn.Parameter(np.ones((2, 3), np.float32))
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x * self.weight)

    model = init.lsuv_(Normalisation(), np.random.default_rng(0).normal(size=(9, 2, 3)), rng=0)
    np.testing.assert_array_equal(model.weight.numpy(), np.ones((2, 3)))


def test_lsuv_says_which_layer_it_could_not_scale(batch: Array) -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(np.ones((60, 60), np.float32))

        def forward(self, x: Any) -> Any:
            y = x @ self.weight
            return y * (2.0 / float(y.array.std()))

    with pytest.warns(
        UserWarning, match="layer '0' to variance 1 within 3 scalings, but to 4; raise max_iter"
    ):
        init.lsuv_(nn.Sequential(Normalised()), batch, max_iterations=3, rng=0)


def test_lsuv_leaves_the_modes_after_an_error() -> None:
    model = tanh_network(2)
    with pytest.raises(ValueError, match="needs outputs that vary, got variance 0.0 in layer '0'; give it a"):
        init.lsuv_(model, np.zeros((5, 60)), rng=0)
    assert all(module.training for module in model.modules())


def test_lsuv_refuses_a_model_without_layers() -> None:
    with pytest.raises(ValueError, match="lsuv_ needs a model with a layer that runs on the batch, got none"):
        init.lsuv_(nn.Sequential(nn.Tanh()), sn.Tensor([1.0]))
