import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings

import probes

LOGITS = arrays_of.arrays(np.float64, (2, 3, 4, 5), elements=st.floats(-30, 30))


def heads(*rows: list[list[float]]) -> np.ndarray:
    """One example; for each head the weights of its queries."""
    return np.array(rows)[None]


# ----------------------------------------------------------------------------------------- entropy


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        pytest.param(heads([[0.25] * 4]), [math.log(4)], id="even"),
        pytest.param(heads([[0.0, 1.0, 0.0]]), [0.0], id="one key"),
        pytest.param(heads([[0.5, 0.5]], [[1.0, 0.0]]), [math.log(2), 0.0], id="each head its own"),
        pytest.param(heads([[0.5, 0.5], [1.0, 0.0]]), [math.log(2) / 2], id="mean over queries"),
        pytest.param(heads([[0.5, 0.5], [0.0, 0.0]]), [math.log(2)], id="a masked query is left out"),
        pytest.param(heads([[0.0, 0.0]]), [math.nan], id="no query counts"),
        pytest.param(heads([[math.nan, 0.5]], [[0.5, 0.5]]), [math.nan, math.log(2)], id="NaN in its head"),
        pytest.param(heads([[math.nan, math.nan], [0.5, 0.5]]), [math.nan], id="a query of NaN counts"),
        pytest.param(heads([[-1.0, 2.0]]), [math.nan], id="no weights but logits"),
        pytest.param(heads([[1, 0]]), [0.0], id="integers"),
    ],
)
def test_attention_entropy_of_known_weights(attention, expected, in_library):
    measured = probes.attention_entropy(in_library(attention))
    np.testing.assert_allclose(np.asarray(measured), expected, rtol=1e-15, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(LOGITS)
def test_attention_entropy_is_the_mean_of_scipys_over_queries(logits):
    attention = scipy.special.softmax(logits, axis=-1)
    expected = scipy.stats.entropy(attention, axis=-1).mean(axis=(0, 2))
    np.testing.assert_allclose(probes.attention_entropy(attention), expected, rtol=1e-10, atol=1e-14)
    assert (np.asarray(probes.attention_entropy(attention)) <= math.log(5) + 1e-12).all()


def test_a_causal_mask_leaves_each_query_the_keys_before_it(in_library):
    attention = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    measured = probes.attention_entropy(in_library(attention[None, None]))
    assert float(measured[0]) == pytest.approx(np.log([1, 2, 3, 4]).mean(), rel=1e-15)


def test_queries_that_are_padding_are_not_looked_at(in_library):
    attention = heads([[0.5, 0.5], [math.nan, math.nan]], [[1.0, 0.0], [0.5, 0.5]])
    counted = in_library(np.array([[True, False]]))
    measured = probes.attention_entropy(in_library(attention), counted)
    np.testing.assert_allclose(np.asarray(measured), [math.log(2), 0.0], rtol=1e-15)


@pytest.mark.parametrize(
    "counted",
    [np.ones((1, 3), dtype=bool), np.ones((1, 2)), np.ones(2, dtype=bool)],
    ids=["2x3", "float", "1-D"],
)
def test_a_mask_that_does_not_fit_is_refused(counted):
    with pytest.raises(
        ValueError, match=r"booleans of shape \(batch, queries\) = \(1, 2\), got .* pass True"
    ):
        probes.attention_entropy(np.full((1, 1, 2, 2), 0.5), counted)


# ------------------------------------------------------------------------------------ largest logit


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        pytest.param(
            heads([[0.5, -3.0], [2.0, 1.0]], [[-5.0, -4.0], [-9.0, -8.0]]), [2.0, -4.0], id="signed"
        ),
        pytest.param(heads([[-math.inf, 1.0]]), [1.0], id="a masked key"),
        pytest.param(heads([[-math.inf, -math.inf]]), [-math.inf], id="all masked"),
        pytest.param(heads([[math.nan, 1.0]], [[1.0, 2.0]]), [math.nan, 2.0], id="NaN in its head"),
        pytest.param(heads([[math.inf, 1.0]]), [math.inf], id="infinity"),
        pytest.param(heads([[3, 1]]), [3.0], id="integers"),
    ],
)
def test_largest_attention_logit_of_known_logits(logits, expected, in_library):
    np.testing.assert_array_equal(probes.largest_attention_logit(in_library(logits)), expected)


def test_the_largest_logit_is_taken_over_the_batch():
    logits = np.zeros((3, 2, 4, 4))
    logits[2, 1, 3, 0] = 7.0
    assert probes.largest_attention_logit(logits).tolist() == [0.0, 7.0]


# ---------------------------------------------------------------------------------------- libraries


@pytest.mark.parametrize("measure", [probes.attention_entropy, probes.largest_attention_logit])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 2, 3, 4), (1, 2, 3, 0)], ids=str)
def test_attention_without_heads_is_refused(measure, shape):
    with pytest.raises(ValueError, match=r"needs shape \(batch, heads, queries, keys\), none of them 0, got"):
        measure(np.zeros(shape))


@pytest.mark.parametrize("measure", [probes.attention_entropy, probes.largest_attention_logit])
def test_numpy_and_torch_measure_the_same(measure):
    torch = pytest.importorskip("torch")
    attention = np.random.default_rng(0).dirichlet(np.ones(6), size=(3, 4, 5)).swapaxes(0, 1)
    measured = measure(torch.asarray(attention.copy()).requires_grad_())
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(attention), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("measure", [probes.attention_entropy, probes.largest_attention_logit])
def test_half_precision_is_read(measure, dtype):
    torch = pytest.importorskip("torch")
    attention = torch.full((1, 2, 3, 4), 0.25, dtype=getattr(torch, dtype))
    np.testing.assert_allclose(measure(attention).numpy(), measure(attention.double()).numpy(), rtol=1e-6)
