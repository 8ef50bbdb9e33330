import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from array_api_compat import array_namespace
from hypothesis import given, settings

from probes.arrays import _norms_on_device, norm, norms, to_host

MODERATE = arrays_of.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param([3.0, 4.0], 5.0, id="three_four_five"),
        pytest.param([[1.0, 1.0], [1.0, 1.0]], 2.0, id="a matrix counts entry by entry"),
        pytest.param(7.0, 7.0, id="0-d"),
        pytest.param([], 0.0, id="empty"),
        pytest.param([0.0, 0.0], 0.0, id="zero"),
        pytest.param([1.0, math.inf], math.inf, id="an infinity"),
        pytest.param([-math.inf, 1.0], math.inf, id="minus infinity"),
        pytest.param([math.nan, math.inf], math.nan, id="a NaN beside an infinity"),
        pytest.param([3e200, 4e200], 5e200, id="squares beyond float64"),
        pytest.param([3e-200, 4e-200], 5e-200, id="squares below float64"),
    ],
)
def test_norm_of_known_arrays(array, expected, in_library):
    measured = norm(in_library(np.array(array)))
    np.testing.assert_allclose(float(measured), expected, rtol=1e-15)


@pytest.mark.parametrize("size", [1e30, 1e-30, 1e-40], ids=["huge", "small", "subnormal"])
def test_float32_norms_stay_in_range_although_their_squares_do_not(size, in_library):
    array = np.full(4, size, dtype=np.float32)
    assert float(norm(in_library(array))) == pytest.approx(2 * float(array[0]), rel=1e-6)


def test_a_long_sum_of_equal_float32_entries_does_not_drift(in_library):
    array = np.full(3_000_001, 0.1, dtype=np.float32)
    expected = math.sqrt(array.size) * float(array[0])
    assert float(norm(in_library(array))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float32", "float64"])
def test_every_real_type_is_measured_in_float64(dtype, in_library):
    measured = norms([in_library(np.ones((2, 2), dtype=dtype))])
    assert str(measured.dtype).endswith("float64")
    assert measured.tolist() == [2.0]


def test_half_precision_does_not_overflow(in_library):
    assert float(norm(in_library(np.full(4, 60000, dtype=np.float16)))) == 120000.0


def test_bfloat16_is_measured():
    torch = pytest.importorskip("torch")
    assert norms([torch.ones(4, dtype=torch.bfloat16)]).tolist() == [2.0]


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda array: array.T, id="transposed"),
        pytest.param(lambda array: array[::2, 1:], id="strided"),
        pytest.param(lambda array: array[:0], id="empty slice"),
    ],
)
def test_views_are_measured_as_they_are(view, in_library):
    array = np.arange(12.0).reshape(3, 4)
    assert float(norm(view(in_library(array)))) == pytest.approx(np.linalg.norm(view(array)))


def test_many_norms_come_in_the_order_of_their_arrays(in_library):
    sizes = [1.0, 5000.0, 0.0, 2.0]
    measured = norms([in_library(np.array([size, 0.0], dtype=np.float32)) for size in sizes])
    assert measured.tolist() == sizes


@settings(max_examples=50)
@given(MODERATE, st.sampled_from([1e-200, 1e-20, 0.5, 3.0, 1e150]))
def test_norms_scale_with_their_array(array, factor):
    assert float(norm(array * factor)) == pytest.approx(float(norm(array)) * factor, rel=1e-12)


@settings(max_examples=50)
@given(MODERATE, st.randoms(use_true_random=False))
def test_norms_do_not_depend_on_the_order_of_entries(array, random):
    shuffled = array.copy()
    random.shuffle(shuffled)
    assert float(norm(shuffled)) == pytest.approx(float(norm(array)), rel=1e-12)


@settings(max_examples=50)
@given(MODERATE)
def test_norms_agree_with_numpy(array):
    assert float(norm(array)) == pytest.approx(float(np.linalg.norm(array)), rel=1e-12)


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in [(3,), (40, 60), (2, 3, 4, 5)]]
    tensors = [torch.asarray(array) for array in arrays]
    np.testing.assert_allclose(norms(tensors).numpy(), norms(arrays), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32", "float64"])
def test_the_way_for_accelerators_measures_the_same(dtype, in_library):
    arrays = [in_library(np.arange(size).astype(dtype)) for size in (0, 3, 50)]
    measured = _norms_on_device(array_namespace(*arrays), arrays)
    np.testing.assert_allclose(np.asarray(measured), np.asarray(norms(arrays)), rtol=1e-12)


def test_the_way_for_accelerators_keeps_float32_in_range():
    torch = pytest.importorskip("torch")
    tensors = [torch.full((4,), 1e30), torch.full((4,), 1e-30)]
    np.testing.assert_allclose(_norms_on_device(array_namespace(*tensors), tensors), [2e30, 2e-30], rtol=1e-6)


def test_measuring_a_tensor_on_a_tape_leaves_nothing_on_it():
    torch = pytest.importorskip("torch")
    weight = torch.ones(4, requires_grad=True)
    assert not norm(weight * 2).requires_grad


def test_no_arrays_have_no_norms():
    with pytest.raises(ValueError, match="norms needs at least one array, got none"):
        norms([])


def test_arrays_of_two_libraries_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="namespaces"):
        norms([np.ones(2), torch.ones(2)])


def test_numbers_of_all_kinds_reach_the_host_in_order(in_library):
    values = [
        in_library(np.float32(0.5)),
        2,
        in_library(np.array([1, 2])),
        np.float64("nan"),
        in_library(np.array(True)),
    ]
    host = to_host(values)
    assert host.dtype == np.float64
    np.testing.assert_array_equal(host, [0.5, 2.0, 1.0, 2.0, math.nan, 1.0])


def test_nothing_reaches_the_host_as_nothing():
    assert to_host([]).shape == (0,)


def test_a_tensor_on_a_tape_reaches_the_host():
    torch = pytest.importorskip("torch")
    assert to_host([torch.tensor(3.0, requires_grad=True)]).tolist() == [3.0]
