"""What embeddings, and the sums that are their gradients, promise beyond PyTorch's answers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.ops.shape import add_rows
from scratchnet.tape import Array


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 5),
    index=st.lists(st.integers(-1000, 1000), max_size=12),
    width=st.sampled_from([(), (1,), (3,), (2, 2)]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex128]),
)
def test_rows_are_added_as_by_numpy_s_slow_way(
    rows: int, index: list[int], width: tuple[int, ...], dtype: type
) -> None:
    numbers = np.array(index, int) % (2 * rows) - rows
    values: Array = np.random.default_rng(0).standard_normal((len(index), *width)).astype(dtype)
    expected: Array = np.zeros((rows, *width), dtype)
    np.add.at(expected, numbers, values)
    result = add_rows(numbers, values, (rows, *width))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_an_embedding_is_a_linear_layer_on_one_hot_vectors() -> None:
    words = nn.Embedding(5, 3, rng=0)
    index = np.array([[0, 4, 4], [2, 1, 0]])
    words(index).sum().backward()
    assert words.weight.grad is not None
    np.testing.assert_allclose(
        words(index).numpy(), np.eye(5, dtype=np.float32)[index] @ words.weight.numpy()
    )
    np.testing.assert_array_equal(
        words.weight.grad.numpy(), [[2.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3, [2.0] * 3]
    )


def test_the_second_derivative_passes_the_rows_that_were_read() -> None:
    words = nn.Embedding(4, 2, padding_idx=3, rng=0).double()
    index = np.array([0, 0, 2, 3])
    direction = np.random.default_rng(1).standard_normal((4, 2))
    (product,) = sn.hvp(lambda: (words(index) ** 3).sum(), [words.weight], [direction])
    count = np.array([[2.0], [0.0], [1.0], [0.0]])
    np.testing.assert_allclose(product, 6 * words.weight.numpy() * direction * count, rtol=1e-12)


def test_the_padding_row_starts_at_zero_and_stays_there() -> None:
    words = nn.Embedding(4, 3, padding_idx=-1, rng=0)
    assert words.padding_idx == 3
    words(np.array([3, 3, 1])).sum().backward()
    assert words.weight.grad is not None
    np.testing.assert_array_equal(words.weight.array[3], np.zeros(3))
    np.testing.assert_array_equal(words.weight.grad.numpy()[[1, 3]], [[1.0] * 3, [0.0] * 3])


def test_given_vectors_are_frozen_unless_asked() -> None:
    table = np.random.default_rng(0).standard_normal((4, 3))
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen(np.array([1])).requires_grad
    np.testing.assert_array_equal(frozen(np.array([1, 2])).numpy(), table[1:3])
    assert nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)(np.array([1])).requires_grad


def test_first_values_are_standard_normal() -> None:
    weight = nn.Embedding(400, 50, rng=0).weight.array
    assert abs(weight.mean()) < 0.03
    assert abs(weight.std() - 1) < 0.03


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Embedding(0, 3), r"num_embeddings and embedding_dim >= 1, got \(0, 3\)"),
        (lambda: nn.Embedding(4, 3, padding_idx=4), "padding_idx within its 4 embeddings, got 4"),
        (lambda: nn.Embedding(4, 3, max_norm=1.0), "max_norm=None, got 1.0"),
        (lambda: nn.Embedding(4, 3, sparse=True), "sparse=False"),
        (lambda: nn.Embedding(4, 3, scale_grad_by_freq=True), "scale_grad_by_freq=False"),
        (lambda: nn.Embedding(4, 3, _weight=np.ones((3, 4))), r"shape \(4, 3\), got \(3, 4\)"),
        (lambda: nn.Embedding.from_pretrained(np.ones(3)), r"got shape \(3,\)"),
        (lambda: nn.Embedding(4, 3)(np.array([[1, 4]])), r"from 0 to 3.*\(4, 3\), got 1 to 4.*\(1, 2\)"),
        (lambda: nn.Embedding(4, 3)(np.array([-1])), "got -1 to -1"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_input_of_floats_is_refused() -> None:
    with pytest.raises(TypeError, match="embedding needs an input of integers, got float64"):
        F.embedding(np.array([1.0]), np.ones((4, 3)))


def test_a_take_of_no_rows_or_of_all_has_its_gradient() -> None:
    x = sn.Tensor(np.ones((3, 2)), requires_grad=True)
    for index, expected in (([], 0.0), ([0, 1, 2, 0, 1, 2], 2.0)):
        (slope,) = sn.grad(x[np.array(index, int)].sum(), [x])
        np.testing.assert_array_equal(slope.numpy(), np.full((3, 2), expected))
