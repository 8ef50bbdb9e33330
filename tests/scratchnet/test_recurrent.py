"""Recurrent layers: what holds between a layer, its cell and its directions, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn
from scratchnet.tape import Array

LAYERS = ("RNN", "LSTM", "GRU")
every_layer = pytest.mark.parametrize("kind", LAYERS)
every_block = pytest.mark.parametrize("kind", [*LAYERS, *(f"{kind}Cell" for kind in LAYERS)])

seeds = st.integers(0, 2**16)
sizes = st.integers(1, 4)


def make(kind: str, *sizes: int, **options: Any) -> Any:
    return getattr(nn, kind)(*sizes, **options).double()


def first(output: Any) -> sn.Tensor:
    """The hidden state, of a cell that has two."""
    return output[0] if isinstance(output, tuple) else output


# ------------------------------------------------------------------------------------ known answers


@pytest.mark.parametrize(
    ("kind", "expected"),
    {
        # tanh of the bias.
        "RNN": [np.tanh(0.5)] * 3,
        # Half of the cell is kept, half of tanh(1/2) is written, and half of it is shown.
        "LSTM": [0.5 * np.tanh(np.tanh(0.5) * share) for share in (1 / 2, 3 / 4, 7 / 8)],
        # Half the way to the candidate, which is tanh(1/2), at each step.
        "GRU": [np.tanh(0.5) * share for share in (1 / 2, 3 / 4, 7 / 8)],
    }.items(),
    ids=str,
)
def test_with_zero_weights_and_one_bias_the_states_are_known(kind: str, expected: list[float]) -> None:
    layer = make(kind, 1, 1)
    for parameter in layer.parameters():
        parameter.array[...] = 0
    # The rows of the candidate: all of RNN's, the third of LSTM's i, f, g, o and of GRU's r, z, n.
    layer.bias_ih_l0.array[0 if kind == "RNN" else 2] = 0.5
    output = first(layer(np.ones((3, 1, 1))))
    np.testing.assert_allclose(output.numpy().ravel(), expected, rtol=1e-14)


def test_a_gru_with_a_closed_update_gate_keeps_its_state_and_with_an_open_one_forgets_it() -> None:
    layer = make("GRU", 2, 3, rng=0)
    start = np.full((1, 1, 3), 0.7)
    for bias, kept in ((50.0, True), (-50.0, False)):
        layer.bias_ih_l0.array[3:6] = bias
        _, last = layer(np.ones((5, 1, 2)), start)
        assert np.allclose(last.numpy(), start) == kept


def test_an_lstm_that_forgets_nothing_carries_a_gradient_through_a_hundred_steps_and_an_rnn_does_not() -> (
    None
):
    reached = {}
    for kind in ("LSTM", "RNN"):
        layer = make(kind, 2, 8, rng=0)
        if kind == "LSTM":
            layer.bias_ih_l0.array[8:16] = 20
        x = sn.Tensor(np.random.default_rng(1).standard_normal((100, 1, 2)), requires_grad=True)
        (slope,) = sn.grad((layer(x)[0][-1] ** 2).sum(), [x])
        norms = np.linalg.norm(slope.numpy(), axis=(1, 2))
        reached[kind] = norms[0] / norms[-1]
    assert reached["LSTM"] > 1e-3
    assert reached["RNN"] < 1e-8


# --------------------------------------------------------------------------------------------- laws


def loop(cell: Any, x: Array) -> list[Array]:
    """What a cell gives, step after step, from zero."""
    state, states = None, []
    for step in x:
        state = cell(step, state)
        states.append(first(state).numpy())
    return states


@every_layer
@settings(max_examples=15, deadline=None)
@given(steps=sizes, batch=sizes, inputs=sizes, hidden=sizes, seed=seeds)
def test_a_layer_over_a_sequence_is_its_cell_in_a_loop(
    kind: str, steps: int, batch: int, inputs: int, hidden: int, seed: int
) -> None:
    layer, cell = make(kind, inputs, hidden, rng=seed), make(f"{kind}Cell", inputs, hidden)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in layer.state_dict().items()})
    x = np.random.default_rng(seed).standard_normal((steps, batch, inputs))
    np.testing.assert_allclose(layer(x)[0].numpy(), loop(cell, x), rtol=1e-10, atol=1e-12)


@every_layer
@settings(max_examples=15, deadline=None)
@given(steps=sizes, batch=sizes, seed=seeds)
def test_reading_a_sequence_backwards_exchanges_the_directions(
    kind: str, steps: int, batch: int, seed: int
) -> None:
    layer, exchanged = (make(kind, 3, 2, bidirectional=True, rng=seed) for _ in range(2))
    state = layer.state_dict()
    exchanged.load_state_dict(
        {
            name: state[name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"]
            for name in state
        }
    )
    x = np.random.default_rng(seed).standard_normal((steps, batch, 3))
    there, back = layer(x)[0].numpy(), exchanged(x[::-1])[0].numpy()[::-1]
    np.testing.assert_allclose(there, np.roll(back, 2, axis=-1), rtol=1e-12)


@every_layer
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 4), seed=seeds)
def test_what_comes_later_changes_nothing_before_and_a_sequence_can_be_read_in_two_parts(
    kind: str, cut: int, seed: int
) -> None:
    layer = make(kind, 3, 2, num_layers=2, rng=seed)
    x = np.random.default_rng(seed).standard_normal((5, 2, 3))
    whole, last = layer(x)
    head, middle = layer(x[:cut])
    tail, end = layer(x[cut:], middle)
    joined = np.concatenate([head.numpy(), tail.numpy()])
    np.testing.assert_allclose(joined, whole.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(first(end).numpy(), first(last).numpy(), rtol=1e-10, atol=1e-12)


@every_layer
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_examples_of_a_batch_do_not_see_each_other(kind: str, seed: int) -> None:
    layer = make(kind, 3, 2, bidirectional=True, rng=seed)
    x = np.random.default_rng(seed).standard_normal((4, 3, 3))
    together = layer(x)[0].numpy()
    for number in range(3):
        alone = layer(x[:, number])[0].numpy()
        np.testing.assert_allclose(together[:, number], alone, rtol=1e-10, atol=1e-12)


@every_layer
def test_the_last_state_is_where_each_direction_ends(kind: str) -> None:
    output, last = make(kind, 3, 2, bidirectional=True, rng=0)(np.ones((4, 5, 3)))
    np.testing.assert_array_equal(first(last).numpy(), [output.numpy()[-1, :, :2], output.numpy()[0, :, 2:]])


@every_layer
def test_states_stay_inside_the_unit_cube_however_large_the_input(kind: str) -> None:
    output = make(kind, 3, 4, rng=0)(np.full((6, 2, 3), 1e6))[0].numpy()
    assert np.abs(output).max() <= 1


# ------------------------------------------------------------------------------------------ dropout


@every_layer
def test_dropout_falls_between_the_layers_only_in_training_and_with_its_probability(kind: str) -> None:
    layer = make(kind, 2, 5, num_layers=2, dropout=0.3, rng=0)
    # The second layer passes the sign of what it reads: no unit of it mixes the first one's units.
    upper = {name: p for name, p in layer.named_parameters() if name.endswith("_l1")}
    for name, parameter in upper.items():
        parameter.array[...] = 0
        if name == "weight_ih_l1":
            parameter.array[:] = np.tile(np.eye(5), (len(parameter) // 5, 1)) * 1e-3
    x = np.random.default_rng(1).standard_normal((50, 40, 2))
    rest = first(layer.eval()(x)).numpy()
    dropped = first(layer.train()(x)).numpy()
    assert not np.any(rest[0] == 0)
    # Of one step, for an LSTM and a GRU carry what earlier steps left.
    rates = [np.mean(first(layer(x[:1])).numpy() == 0) for _ in range(100)]
    assert np.mean(rates) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / (100 * 200)))
    kept = dropped[0][dropped[0] != 0] / rest[0][dropped[0] != 0]
    np.testing.assert_allclose(kept, 1 / 0.7, rtol=1e-2)


def test_the_same_seed_drops_the_same_and_another_pass_drops_anew() -> None:
    x = np.ones((3, 2, 2))
    one, other = (make("GRU", 2, 5, num_layers=2, dropout=0.5, rng=7) for _ in range(2))
    np.testing.assert_array_equal(one(x)[0].numpy(), other(x)[0].numpy())
    assert not np.array_equal(one(x)[0].numpy(), one(x)[0].numpy())


def test_dropout_of_a_single_layer_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="LSTM drops between layers, and has one: dropout=0.5 does nothing"):
        nn.LSTM(2, 3, dropout=0.5)


# ------------------------------------------------------------------------------------ first values


@every_block
def test_first_values_are_uniform_within_one_over_the_root_of_the_hidden_size(kind: str) -> None:
    block = getattr(nn, kind)(30, 64, rng=0)
    values = np.concatenate([p.numpy().ravel() for p in block.parameters()])
    assert np.abs(values).max() <= 1 / 8
    assert values.std() == pytest.approx(1 / 8 / np.sqrt(3), rel=0.02)


@every_block
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    one, other = (getattr(nn, kind)(3, 4, rng=5).state_dict() for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


# ------------------------------------------------------------------------------------ second order


@every_layer
def test_hessian_vector_products_of_a_whole_network_agree_with_differences(kind: str) -> None:
    model = make(kind, 2, 3, num_layers=2, bidirectional=True, rng=0)
    x = sn.Tensor(np.random.default_rng(0).standard_normal((3, 2, 2)), requires_grad=True)
    sn.check_gradients(lambda: (first(model(x)) ** 2).sum(), [x, *model.parameters()], rng=1, tolerance=1e-5)


@every_layer
def test_a_second_backward_pass_adds_to_the_gradients(kind: str) -> None:
    layer = make(kind, 2, 3, rng=0)
    gradients = []
    for _ in range(2):
        first(layer(np.ones((3, 2, 2)))).sum().backward()
        gradients.append([p.grad.numpy().copy() for p in layer.parameters()])
    for once, twice in zip(*gradients, strict=True):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-12)


@every_layer
def test_nothing_is_recorded_where_no_gradient_is_wanted(kind: str) -> None:
    layer = make(kind, 2, 3)
    with sn.no_grad():
        assert not first(layer(np.ones((3, 2, 2)))).requires_grad


@every_layer
def test_plain_float64_data_does_not_widen_a_float32_layer(kind: str) -> None:
    layer = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True)
    start: Any = np.zeros((4, 2, 3))
    output, _ = layer(np.ones((3, 2, 2)), (start, start) if kind == "LSTM" else start)
    assert output.dtype == np.float32


# ------------------------------------------------------------------------------------------- errors


@every_layer
def test_an_empty_batch_gives_no_states_and_zero_gradients(kind: str) -> None:
    layer = make(kind, 3, 2, rng=0)
    output, _ = layer(np.zeros((4, 0, 3)))
    output.sum().backward()
    assert output.shape == (4, 0, 2)
    assert not any(parameter.grad.numpy().any() for parameter in layer.parameters())


@every_layer
def test_a_layer_refuses_what_does_not_fit(kind: str) -> None:
    layer = getattr(nn, kind)(3, 4, num_layers=2)
    with pytest.raises(ValueError, match=rf"{kind} needs an input of shape \(steps, batch, 3\).*\(5, 2, 7\)"):
        layer(np.ones((5, 2, 7)))
    with pytest.raises(ValueError, match=rf"{kind} needs an input of shape .*got \(3,\)"):
        layer(np.ones(3))
    with pytest.raises(ValueError, match=rf"{kind} needs a sequence of at least one step.*\(0, 2, 3\)"):
        layer(np.ones((0, 2, 3)))
    with pytest.raises(ValueError, match=rf"{kind} needs a sequence of at least one step.*\(0, 3\)"):
        layer(np.ones((0, 3)))
    first_layer = getattr(nn, kind)(3, 4, batch_first=True)
    with pytest.raises(ValueError, match=rf"{kind} needs a sequence of at least one step.*\(2, 0, 3\)"):
        first_layer(np.ones((2, 0, 3)))
    with pytest.raises(ValueError, match=r"shape \(batch, steps, 3\) or \(steps, 3\), got \(2, 5, 4\)"):
        first_layer(np.ones((2, 5, 4)))


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_a_layer_refuses_an_initial_state_of_another_shape(kind: str) -> None:
    layer = getattr(nn, kind)(3, 4, num_layers=2)
    expected = rf"{kind} needs hx of shape \(2, 5, 4\) for its input of shape \(6, 5, 3\), got \(1, 5, 4\)"
    with pytest.raises(ValueError, match=expected):
        layer(np.ones((6, 5, 3)), np.zeros((1, 5, 4)))
    with pytest.raises(ValueError, match=r"hx of shape \(2, 4\) .* got \(2, 1, 4\)"):
        layer(np.ones((6, 3)), np.zeros((2, 1, 4)))


def test_an_lstm_refuses_states_that_are_no_fitting_pair() -> None:
    layer, good = nn.LSTM(3, 4), np.zeros((1, 5, 4))
    with pytest.raises(ValueError, match=r"LSTM needs its initial states as a pair \(h, c\), got ndarray"):
        layer(np.ones((6, 5, 3)), good)
    with pytest.raises(ValueError, match=r"LSTM needs c of shape \(1, 5, 4\) .* got \(1, 5, 3\)"):
        layer(np.ones((6, 5, 3)), (good, good[..., :3]))


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_cell_refuses_what_does_not_fit(kind: str) -> None:
    cell = getattr(nn, kind)(3, 4)
    with pytest.raises(ValueError, match=rf"{kind} needs an input of shape \(batch, 3\).*got \(2, 5\)"):
        cell(np.ones((2, 5)))
    state: Any = np.zeros((1, 4))
    with pytest.raises(ValueError, match=rf"{kind} needs hx? of shape \(2, 4\).*got \(1, 4\)"):
        cell(np.ones((2, 3)), (state, state) if kind == "LSTMCell" else state)


@every_block
def test_a_block_refuses_sizes_below_one(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} needs hidden_size >= 1, got 0"):
        getattr(nn, kind)(3, 0)


@every_layer
def test_a_layer_refuses_a_dropout_that_is_no_probability(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind} needs a probability p in \[0, 1\], got 1.5"):
        getattr(nn, kind)(3, 4, num_layers=2, dropout=1.5)


@pytest.mark.parametrize("kind", ["RNN", "RNNCell"])
def test_an_unknown_nonlinearity_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} needs nonlinearity 'tanh' or 'relu', got 'sigmoid'"):
        getattr(nn, kind)(3, 4, nonlinearity="sigmoid")


def test_projected_states_are_refused() -> None:
    with pytest.raises(ValueError, match="LSTM needs proj_size=0, got 2; put a Linear behind it"):
        nn.LSTM(3, 4, proj_size=2)


@every_block
def test_the_text_form_tells_what_is_unusual(kind: str) -> None:
    assert repr(getattr(nn, kind)(3, 4, bias=False)) == f"{kind}(3, 4, bias=False)"
