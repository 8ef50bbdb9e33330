"""The checksum that tells equal parameters from others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probes.checksum import checksum


@pytest.mark.parametrize(
    ("given_arrays", "expected"),
    [
        pytest.param([np.array([1, 2])], 3.0, id="integers"),
        pytest.param([np.array([1, 2]), np.array([3])], 12.0, id="two"),
        pytest.param([np.array([3]), np.array([1, 2])], 12.0, id="as-many-each"),
        pytest.param([np.array([1]), np.array([2])], 5.0, id="order-a"),
        pytest.param([np.array([2]), np.array([1])], 7.0, id="order-b"),
        pytest.param([np.array([1.0])], 1023 * 47.0, id="float64"),
        pytest.param([np.array([1.0], np.float32)], float(0x3F800000), id="float32"),
        pytest.param([np.array([1.0, 1.0], np.float16)], float(2 * 0x3C00), id="float16"),
        pytest.param([np.array([-1], np.int64)], 2.0**52 - 48, id="negative"),
        pytest.param([np.empty(0)], 0.0, id="empty"),
        pytest.param([np.array([[1, 2], [3, 4]])[:, ::-1].T], 10.0, id="view"),
    ],
)
def test_known_sums(in_library, given_arrays, expected):
    assert float(checksum([in_library(array) for array in given_arrays])) == expected


def test_a_tensor_of_bfloat16_has_one():
    torch = pytest.importorskip("torch")
    ones = torch.ones(3, dtype=torch.bfloat16)
    assert checksum([ones]) == checksum([ones.clone()]) != checksum([2 * ones])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_off_the_host_it_is_the_same(monkeypatch, dtype):
    torch = pytest.importorskip("torch")
    some = [np.random.default_rng(seed).standard_normal(3000).astype(dtype) for seed in range(3)]
    expected = checksum(some)
    monkeypatch.setattr("probes.checksum.readable", lambda tensor: tensor.detach())
    found = checksum([torch.asarray(array) for array in some])
    assert isinstance(found, torch.Tensor)
    assert (found.dtype, float(found)) == (torch.float64, expected)


FLOATS = st.floats(allow_nan=False)


@given(arrays(np.float64, 5, elements=FLOATS), st.integers(0, 4), st.integers(0, 63))
def test_another_bit_is_another_checksum(array, place, bit):
    changed = array.copy()
    changed.view(np.uint64)[place] ^= np.uint64(1 << bit)
    assert checksum([changed, array]) != checksum([array, array])


@given(arrays(np.float64, 5, elements=FLOATS), FLOATS, st.integers(0, 4))
def test_another_number_in_one_place_is_another_checksum(array, other, place):
    changed = array.copy()
    changed[place] = other
    is_same = changed.tobytes() == array.tobytes()
    assert (checksum([changed, array]) == checksum([array, array])) == is_same


@given(arrays(np.float32, 64, elements=st.floats(width=32)), st.permutations(range(64)))
def test_the_order_of_adding_makes_no_difference(array, order):
    assert checksum([array]) == checksum([array[order]])


def test_no_arrays():
    with pytest.raises(ValueError, match="checksum needs at least one array, got none"):
        checksum([])
