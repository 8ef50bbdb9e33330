"""What attention and the encodings of positions promise beyond PyTorch's answers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.nn.cache import KVCache
from scratchnet.ops.attention import attention, packed_attention
from scratchnet.tape import Array


def numbers(*size: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *size]).standard_normal(size)


def attend(x: Any, block: nn.MultiheadAttention, **options: Any) -> Array:
    return block(x, x, x, **options)[0].numpy()


# ------------------------------------------------------------------------------- known answers


def test_equal_keys_give_the_mean_of_the_values() -> None:
    value = numbers(4, 3)
    output = F.scaled_dot_product_attention(numbers(2, 5), np.ones((4, 5)), value)
    np.testing.assert_allclose(output.numpy(), np.tile(value.mean(axis=0), (2, 1)), rtol=1e-14)


def test_a_sharp_score_picks_one_value() -> None:
    value = numbers(3, 2)
    output = F.scaled_dot_product_attention(np.eye(3) * 1e4, np.eye(3), value, scale=1.0)
    np.testing.assert_array_equal(output.numpy(), value)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}], ids=str)
@pytest.mark.parametrize("mask", ["none", "booleans", "floats", "one row"])
def test_the_function_equals_pytorch_s(options: dict[str, Any], mask: str) -> None:
    torch = pytest.importorskip("torch")
    masks = {
        "none": None,
        "booleans": np.array([[1, 0, 1, 1], [1, 1, 0, 0]], bool),
        "floats": numbers(3, 1, 2, 4),
        "one row": np.array([[True, False, True, False]]),
    }
    if mask != "none" and "is_causal" in options:
        pytest.skip("PyTorch takes one or the other")
    arrays = numbers(3, 2, 2, 6), numbers(3, 2, 4, 6), numbers(3, 2, 4, 5)
    given = masks[mask]
    other = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, arrays), attn_mask=None if given is None else torch.tensor(given), **options
    )
    mine = F.scaled_dot_product_attention(*arrays, given, **options)
    np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_sees_no_key_gets_zeros_and_passes_no_gradient(need_weights: bool) -> None:
    block = nn.MultiheadAttention(4, 2, batch_first=True, rng=0).double()
    query = sn.Tensor(numbers(1, 2, 4), requires_grad=True)
    memory = sn.Tensor(numbers(1, 3, 4), requires_grad=True)
    hidden = np.array([[True, True, True], [False, False, True]])
    output, weights = block(query, memory, memory, attn_mask=hidden, need_weights=need_weights)
    (output * output).sum().backward()
    np.testing.assert_array_equal(output.numpy()[0, 0], np.zeros(4))
    assert query.grad is not None
    np.testing.assert_array_equal(query.grad.numpy()[0, 0], np.zeros(4))
    assert np.any(query.grad.numpy()[0, 1])
    if weights is not None:
        np.testing.assert_array_equal(weights.numpy()[0, 0], np.zeros(3))


def test_a_mask_of_numbers_may_be_a_list() -> None:
    attention, x = nn.MultiheadAttention(4, 2, batch_first=True, rng=0), np.ones((1, 3, 4))
    mask = np.triu(np.full((3, 3), -1e9), 1)
    output, _ = attention(x, x, x, attn_mask=[mask.tolist()] * 2)
    np.testing.assert_array_equal(output.numpy(), attention(x, x, x, attn_mask=mask)[0].numpy())


def test_a_causal_mask_needs_no_mask_beside_it() -> None:
    block = nn.MultiheadAttention(6, 2, batch_first=True, rng=0).double()
    x = numbers(2, 4, 6)
    later = np.triu(np.ones((4, 4), bool), k=1)
    np.testing.assert_array_equal(attend(x, block, is_causal=True), attend(x, block, attn_mask=later))


# ----------------------------------------------------------------------------------------- laws


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), queries=st.integers(1, 5), keys=st.integers(1, 5), heads=st.integers(1, 3))
def test_the_order_of_the_keys_does_not_matter(seed: int, queries: int, keys: int, heads: int) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((2, heads, size, 4)) for size in (queries, keys, keys))
    order = rng.permutation(keys)
    mask = rng.standard_normal((queries, keys))
    once = F.scaled_dot_product_attention(q, k, v, mask).numpy()
    again = F.scaled_dot_product_attention(q, k[..., order, :], v[..., order, :], mask[:, order]).numpy()
    np.testing.assert_allclose(again, once, rtol=1e-12, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), position=st.integers(0, 4))
def test_a_later_token_changes_nothing_before_it(seed: int, position: int) -> None:
    block = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, rng=seed).double().eval()
    x = np.random.default_rng(seed).standard_normal((1, 5, 4))
    changed = x.copy()
    changed[:, position] += 1.0
    before, after = (block(value, is_causal=True).numpy() for value in (x, changed))
    np.testing.assert_array_equal(after[:, :position], before[:, :position])
    assert np.abs(after[:, position:] - before[:, position:]).max() > 1e-6


def test_packed_and_separate_attention_agree() -> None:
    packed = numbers(3, 2, 2, 4, 3)
    options: dict[str, Any] = {"scale": 0.5, "factors": None}
    np.testing.assert_array_equal(
        packed_attention(packed, None, **options), attention(*packed, None, **options)
    )


def test_the_projection_of_one_input_equals_three_of_equal_inputs() -> None:
    block = nn.MultiheadAttention(6, 2, batch_first=True, rng=0).double()
    x = numbers(2, 4, 6)
    together = block(x, x, x, need_weights=False)[0].numpy()
    apart = block(x, x.copy(), x.copy(), need_weights=False)[0].numpy()
    np.testing.assert_allclose(together, apart, rtol=1e-12, atol=1e-13)


def test_weights_and_no_weights_give_one_output() -> None:
    block = nn.MultiheadAttention(6, 2, batch_first=True, rng=0).double()
    x = numbers(2, 4, 6)
    np.testing.assert_allclose(
        attend(x, block, need_weights=True), attend(x, block, need_weights=False), rtol=1e-12, atol=1e-13
    )


# -------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_drops_weights_in_training_only_and_keeps_their_mean(need_weights: bool) -> None:
    block = nn.MultiheadAttention(4, 2, dropout=0.25, batch_first=True, rng=0).double()
    x = numbers(1, 6, 4)
    steady = attend(x, block.eval(), need_weights=need_weights)
    np.testing.assert_array_equal(attend(x, block, need_weights=need_weights), steady)
    block.train()
    drawn = np.stack([attend(x, block, need_weights=need_weights) for _ in range(3000)])
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(drawn.std(axis=0) > 0)
    assert np.all(np.abs(drawn.mean(axis=0) - steady) < 5 * error)


def test_dropped_weights_are_those_that_are_returned() -> None:
    block = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True, rng=0)
    x = numbers(2, 8, 4)
    weights = block(x, x, x, average_attn_weights=False)[1].numpy()
    assert 0.3 < np.mean(weights == 0) < 0.7


def test_equal_seeds_draw_equal_dropout() -> None:
    layers = [nn.TransformerEncoderLayer(4, 2, 6, dropout=0.5, rng=3) for _ in range(2)]
    x = numbers(3, 2, 4)
    np.testing.assert_array_equal(*(layer(x).numpy() for layer in layers))


# ------------------------------------------------------------------------------------ positions


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), shift=st.integers(0, 500), half=st.integers(1, 4))
def test_products_of_rotated_vectors_depend_on_relative_positions_alone(
    seed: int, shift: int, half: int
) -> None:
    rotary = nn.RotaryEmbedding(2 * half)
    query, key = np.random.default_rng(seed).standard_normal((2, 5, 2 * half))
    here = rotary(query).numpy() @ rotary(key).numpy().T
    there = rotary(query, offset=shift).numpy() @ rotary(key, offset=shift).numpy().T
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), offset=st.integers(0, 500))
def test_a_rotation_keeps_lengths_and_turns_the_first_position_by_nothing(seed: int, offset: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 3, 6))
    rotary = nn.RotaryEmbedding(6)
    turned = rotary(x, offset).numpy()
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(rotary(x).numpy()[:, 0], x[:, 0])


def test_the_interleaved_convention_is_a_permutation_of_columns() -> None:
    x, angles = numbers(3, 4), np.arange(3)[:, None] * np.array([1.0, 0.01])
    paired = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * angles)
    order = [0, 2, 1, 3]
    turned = nn.RotaryEmbedding(4)(x[:, order]).numpy()
    np.testing.assert_allclose(turned, np.concatenate([paired.real, paired.imag], axis=1), rtol=1e-14)


def test_rotary_attention_sees_relative_positions_and_has_both_derivatives() -> None:
    block = nn.MultiheadAttention(8, 2, batch_first=True, rotary=nn.RotaryEmbedding(4), rng=0).double()
    x = np.tile(numbers(1, 1, 8), (1, 5, 1))
    weights = block(x, x, x, average_attn_weights=False)[1].numpy()
    logits = np.log(weights[0, 0])
    # Equal tokens: only the distance tells them apart.
    np.testing.assert_allclose(logits[0, 1] - logits[0, 0], logits[3, 4] - logits[3, 3], rtol=1e-9)
    assert abs(logits[0, 1] - logits[0, 0]) > 1e-6
    y = sn.Tensor(numbers(1, 3, 8), requires_grad=True)
    sn.check_gradients(
        lambda: (block(y, y, y, need_weights=False)[0] ** 2).sum(), [y, *block.parameters()], order=2, rng=1
    )


def test_a_shift_rotates_each_pair_of_the_sinusoidal_encoding() -> None:
    table = nn.SinusoidalEncoding(6).table(20, dtype=np.float64)
    pairs = table[:, 0::2] + 1j * table[:, 1::2]
    turns = pairs[3:] / pairs[:-3]
    np.testing.assert_allclose(turns, np.broadcast_to(turns[0], turns.shape), rtol=1e-9)
    np.testing.assert_array_equal(nn.SinusoidalEncoding(6)(np.zeros((2, 6)), offset=4).numpy(), table[4:6])


# ---------------------------------------------------------------------------------------- cache


def step_by_step(x: Array, sizes: list[int], call: Any) -> Array:
    """The outputs for pieces of a sequence, one after another, with one cache."""
    cache = KVCache()
    starts = np.cumsum([0, *sizes[:-1]])
    with sn.no_grad():
        pieces = [
            call(x[:, start : start + size], cache).numpy() for start, size in zip(starts, sizes, strict=True)
        ]
    assert len(cache) == x.shape[1]
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("sizes", [[1] * 6, [3, 1, 1, 1], [2, 4]], ids=str)
@pytest.mark.parametrize("rotary", [True, False])
def test_attention_with_a_cache_equals_the_causal_pass(sizes: list[int], rotary: bool) -> None:
    turning = nn.RotaryEmbedding(4) if rotary else None
    block = nn.MultiheadAttention(8, 2, batch_first=True, rotary=turning, rng=0).double()
    x = numbers(2, 6, 8)
    pieces = step_by_step(
        x, sizes, lambda piece, cache: block(piece, piece, piece, is_causal=True, cache=cache)[0]
    )
    np.testing.assert_allclose(pieces, attend(x, block, is_causal=True), rtol=1e-12, atol=1e-12)


def test_a_decoder_with_a_cache_equals_the_causal_pass() -> None:
    layer = nn.TransformerDecoderLayer(4, 2, 6, batch_first=True, norm_first=True, rng=0)
    decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(4)).double().eval()
    x, memory = numbers(2, 6, 4), numbers(2, 3, 4)
    pieces = step_by_step(
        x, [2, 1, 1, 1, 1], lambda piece, cache: decoder(piece, memory, tgt_is_causal=True, cache=cache)
    )
    np.testing.assert_allclose(pieces, decoder(x, memory, tgt_is_causal=True).numpy(), rtol=1e-12, atol=1e-12)


def test_a_decoder_only_stack_with_a_cache_equals_the_causal_pass_with_padding() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, rng=0)
    stack = nn.TransformerEncoder(layer, 2).double().eval()
    x, hidden = numbers(2, 5, 4), np.zeros((2, 5), bool)
    hidden[0, 1] = True
    pieces = step_by_step(
        x,
        [1] * 5,
        lambda piece, cache: stack(
            piece, src_key_padding_mask=hidden[:, : len(cache) + 1], is_causal=True, cache=cache
        ),
    )
    whole = stack(x, src_key_padding_mask=hidden, is_causal=True).numpy()
    np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-12)


def test_a_cache_refuses_what_would_be_silently_wrong() -> None:
    block = nn.MultiheadAttention(4, 2, batch_first=True, rng=0)
    x, memory = numbers(2, 1, 4), numbers(2, 3, 4)
    first = x[:1]
    cache = KVCache()
    with pytest.raises(RuntimeError, match="records no gradients"):
        block(x, x, x, cache=cache)
    with sn.no_grad():
        block(x, x, x, cache=cache)
        with pytest.raises(ValueError, match=r"shaped as before.*\(1, 2, 1, 2\) after \(2, 2, 2, 2\)"):
            block(first, first, first, cache=cache)
        block(x, memory, memory, cache=cache)
        other = memory.copy()
        with pytest.raises(ValueError, match="one memory for all steps"):
            block(x, other, other, cache=cache)


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 5, "num_heads": 2}, "multiple of num_heads, got 5 and 2"),
        ({"embed_dim": 4, "num_heads": 0}, "multiple of num_heads, got 4 and 0"),
        ({"embed_dim": 4, "num_heads": 2, "add_bias_kv": True}, "add_bias_kv=False"),
        ({"embed_dim": 4, "num_heads": 2, "add_zero_attn": True}, "add_zero_attn=False"),
        ({"embed_dim": 4, "num_heads": 2, "dropout": 1.5}, "probability"),
        ({"embed_dim": 4, "num_heads": 2, "rotary": nn.RotaryEmbedding(4)}, "2 columns, got one of 4"),
    ],
)
def test_constructor_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"MultiheadAttention needs.*{message}"):
        nn.MultiheadAttention(**options)


@pytest.mark.parametrize(
    ("query", "memory", "options", "message"),
    [
        ((2, 3, 5), (2, 3, 4), {}, r"\(4, 4, 4\) columns.*got \(2, 3, 5\), \(2, 3, 4\)"),
        ((2, 3, 4), (1, 3, 4), {}, r"got \(2, 3, 4\), \(1, 3, 4\)"),
        ((2, 3, 4), (3, 4), {}, r"got \(2, 3, 4\), \(3, 4\)"),
        ((2, 3, 4), (2, 0, 4), {}, r"got \(2, 3, 4\), \(2, 0, 4\)"),
        ((2, 3, 4), (2, 5, 4), {"attn_mask": np.ones((5, 3))}, r"\(3, 5\) or \(4, 3, 5\), got \(5, 3\)"),
        ((2, 3, 4), (2, 5, 4), {"key_padding_mask": np.ones((2, 3))}, r"shape \(2, 5\), got \(2, 3\)"),
    ],
)
def test_call_errors(
    query: tuple[int, ...], memory: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    block = nn.MultiheadAttention(4, 2, batch_first=True)
    keys = np.zeros(memory)
    with pytest.raises(ValueError, match=f"MultiheadAttention needs.*{message}"):
        block(np.zeros(query), keys, keys, **options)


@pytest.mark.parametrize(
    ("sizes", "mask", "message"),
    [
        (((3, 4), (5, 2), (5, 2)), None, r"got \(3, 4\), \(5, 2\) and \(5, 2\)"),
        (((3, 4), (0, 4), (0, 4)), None, "at least one key"),
        (((3, 4), (5, 4), (5, 4)), np.ones((3, 4)), r"broadcast to \(3, 5\), got \(3, 4\)"),
        (((3, 4), (5, 4), (5, 4)), np.ones(5), r"two or more axes.*got \(5,\)"),
        (((3, 4), (5, 4), (5, 4)), np.ones((2, 3, 5)), r"broadcast to \(3, 5\), got \(2, 3, 5\)"),
    ],
)
def test_function_errors(sizes: Any, mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"scaled_dot_product_attention needs.*{message}"):
        query, key, value = map(np.zeros, sizes)
        F.scaled_dot_product_attention(query, key, value, mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.RotaryEmbedding(3), "RotaryEmbedding needs an even dim >= 2, got 3"),
        (lambda: nn.RotaryEmbedding(4)(np.ones((2, 6))), r"\(..., positions, 4\), got \(2, 6\)"),
        (lambda: nn.SinusoidalEncoding(0), "SinusoidalEncoding needs dim >= 1, got 0"),
        (lambda: nn.SinusoidalEncoding(4)(np.ones((2, 6))), r"last axis of 4.*got shape \(2, 6\)"),
    ],
)
def test_position_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
