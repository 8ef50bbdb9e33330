import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes

NORMS = arrays_of.arrays(np.float64, st.integers(2, 10), elements=st.floats(1e-6, 1e6))


def test_gradient_norm_runs_over_all_entries(in_library):
    assert float(probes.gradient_norm(in_library(np.array([[3.0, 0.0], [0.0, 4.0]])))) == 5.0


@settings(max_examples=40)
@given(st.lists(arrays_of.arrays(np.float64, 3, elements=st.floats(-1e3, 1e3)), min_size=1, max_size=5))
def test_the_combined_norm_of_the_parts_is_the_norm_of_the_whole(parts):
    whole = float(probes.gradient_norm(np.concatenate(parts)))
    assert float(probes.combined_norm(probes.norms(parts))) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("size", [1e200, 1e-200], ids=["huge", "tiny"])
def test_norms_combine_although_their_squares_leave_float64(size, in_library):
    assert float(probes.combined_norm(in_library(np.full(4, size)))) == pytest.approx(2 * size)


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        pytest.param([0.5, 7.0, 2.0], 0.25, id="first over last, whatever lies between"),
        pytest.param([1e-9, 1.0], 1e-9, id="vanishing"),
        pytest.param([1e9, 1.0], 1e9, id="exploding"),
        pytest.param([0.0, 1.0], 0.0, id="gone"),
        pytest.param([1.0, 0.0], math.inf, id="only the last is zero"),
        pytest.param([0.0, 0.0], math.nan, id="both are zero"),
        pytest.param([math.nan, 1.0], math.nan, id="a NaN"),
    ],
)
def test_gradient_norm_ratio_of_known_norms(norms, expected, in_library):
    np.testing.assert_equal(float(probes.gradient_norm_ratio(in_library(np.array(norms)))), expected)


def test_float32_norms_are_divided_in_float64(in_library):
    ratio = probes.gradient_norm_ratio(in_library(np.array([1e-30, 1e30], dtype=np.float32)))
    assert float(ratio) == pytest.approx(1e-60, rel=1e-6)


@settings(max_examples=40)
@given(NORMS, st.floats(1e-3, 1e3))
def test_the_ratio_does_not_depend_on_the_scale_of_the_loss(norms, factor):
    scaled, plain = probes.gradient_norm_ratio(norms * factor), probes.gradient_norm_ratio(norms)
    assert float(scaled) == pytest.approx(float(plain), rel=1e-12)


def test_a_chain_of_sigmoids_vanishes_and_an_orthogonal_one_does_not():
    rng = np.random.default_rng(0)
    depth, width = 10, 16
    orthogonal = [np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(depth)]
    through = {"sigmoid": [np.ones(width)], "linear": [np.ones(width)]}
    for weight in orthogonal:
        through["linear"].insert(0, weight @ through["linear"][0])
        # A sigmoid's slope is at most a quarter.
        through["sigmoid"].insert(0, weight @ (0.25 * through["sigmoid"][0]))
    assert float(probes.gradient_norm_ratio(probes.norms(through["sigmoid"]))) == pytest.approx(0.25**depth)
    assert float(probes.gradient_norm_ratio(probes.norms(through["linear"]))) == pytest.approx(1.0)


@pytest.mark.parametrize("norms", [np.ones(1), np.ones(0), np.ones((2, 2))], ids=["one", "none", "2-D"])
def test_a_ratio_needs_two_layers(norms):
    with pytest.raises(ValueError, match="needs a 1-D array of at least two norms, got shape"):
        probes.gradient_norm_ratio(norms)


@pytest.mark.parametrize("norms", [np.ones(0), np.ones((2, 2))], ids=["none", "2-D"])
def test_a_combined_norm_needs_a_part(norms):
    with pytest.raises(ValueError, match="needs a 1-D array of at least one norm, got shape"):
        probes.combined_norm(norms)


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    array = np.abs(np.random.default_rng(0).standard_normal(50))
    for measure in (probes.gradient_norm, probes.combined_norm, probes.gradient_norm_ratio):
        measured = measure(torch.asarray(array).requires_grad_())
        assert isinstance(measured, torch.Tensor)
        assert not measured.requires_grad
        assert float(measured) == pytest.approx(float(measure(array)), rel=1e-12)
