"""What transformer layers and stacks promise beyond PyTorch's answers."""

from typing import Any

import numpy as np
import pytest

from scratchnet import nn, optim
from scratchnet.tape import Array


def numbers(*size: int) -> Array:
    return np.random.default_rng(size).standard_normal(size)


def test_a_stack_starts_with_equal_layers_of_their_own() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, rng=0)
    stack = nn.TransformerEncoder(layer, 2)
    layers: Any = stack.layers
    first, second = (part.linear1.weight for part in layers)
    np.testing.assert_array_equal(first.array, second.array)
    assert first is not second
    assert first.array is not layer.linear1.weight.array
    first.array += 1.0
    assert not np.array_equal(first.array, second.array)


def test_the_layers_of_a_stack_drop_different_elements() -> None:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, dropout=0.5, rng=0), 2)
    heard: list[Array] = []
    layers: Any = stack.layers
    for layer in layers:
        layer.dropout1.register_forward_hook(
            lambda _module, _inputs, output: heard.append(output.numpy() == 0)
        )
    stack(numbers(8, 4, 4))
    first, second = heard
    assert not np.array_equal(first, second)


def test_a_network_of_layers_learns_to_tell_the_first_token() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (64, 6))
    model = nn.Sequential(
        nn.Embedding(5, 16, rng=rng),
        nn.SinusoidalEncoding(16),
        nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, rng=rng),
        nn.Linear(16, 5, rng=rng),
    )
    optimizer, criterion = optim.Adam(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
    losses = []
    for _ in range(60):
        # Every position has to look at the first.
        loss = criterion(model(tokens).reshape(-1, 5), np.repeat(tokens[:, 0], 6))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.2
    assert losses[-1] < 0.1


def test_float64_arrays_do_not_widen_a_float32_network() -> None:
    for norm_first in (True, False):
        layer = nn.TransformerEncoderLayer(4, 2, 6, norm_first=norm_first, rng=0)
        assert layer(numbers(3, 2, 4)).dtype == np.float32


def test_every_part_is_heard() -> None:
    layer = nn.TransformerDecoderLayer(4, 2, 6, rng=0)
    heard: list[str] = []
    for name, module in layer.named_modules():
        module.register_forward_hook(lambda *_, name=name: heard.append(name))
    layer(numbers(3, 2, 4), numbers(5, 2, 4))
    assert sorted(heard) == sorted(name for name, _ in layer.named_modules())


def test_initial_weights_have_pytorch_s_distribution() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, rng=0)
    bound = np.sqrt(6 / (64 + 3 * 64))
    weight = layer.self_attn.in_proj_weight
    assert weight is not None
    assert 0.95 * bound < np.abs(weight.array).max() <= bound
    state = layer.state_dict()
    assert not state["self_attn.in_proj_bias"].any()
    assert not state["self_attn.out_proj.bias"].any()
    whole = nn.Transformer(32, 2, 1, 1, 64, rng=0).state_dict()
    linear = whole["encoder.layers.0.linear1.weight"]
    assert 0.9 * np.sqrt(6 / 96) < np.abs(linear).max() <= np.sqrt(6 / 96)


def test_a_custom_encoder_takes_the_encoder_s_place() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, rng=0), 3)
    model = nn.Transformer(4, 2, 1, 1, 6, custom_encoder=encoder, rng=0)
    assert model.encoder is encoder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.TransformerEncoderLayer(4, 2, activation="swish"),
            "'relu', 'gelu' or a function, got 'swish'",
        ),
        (
            lambda: nn.TransformerDecoderLayer(4, 2, activation="swish"),
            "TransformerDecoderLayer needs activation",
        ),
        (lambda: nn.TransformerEncoderLayer(5, 2), "multiple of num_heads, got 5 and 2"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0), "num_layers >= 1, got 0"),
        (
            lambda: nn.TransformerEncoderLayer(4, 2)(np.ones((3, 2, 5))),
            r"\(4, 4, 4\) columns.*got \(3, 2, 5\)",
        ),
        (
            lambda: nn.TransformerDecoderLayer(4, 2)(np.ones((3, 2, 4)), np.ones((3, 1, 4))),
            r"got \(3, 2, 4\), \(3, 1, 4\)",
        ),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
