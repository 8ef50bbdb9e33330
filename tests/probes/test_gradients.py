import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.spatial
import scipy.stats
from hypothesis import given, settings

import probes
from probes import gradients

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


@settings(max_examples=40)
@given(NORMS)
def test_the_slope_is_that_of_linear_regression(norms):
    truth = scipy.stats.linregress(np.arange(norms.size), np.log(norms))
    found = probes.gradient_norm_slope(norms)
    assert float(found.slope) == pytest.approx(truth.slope, rel=1e-9, abs=1e-12)
    if np.ptp(np.log(norms)) > 1e-6:
        assert float(found.r_squared) == pytest.approx(truth.rvalue**2, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("norms", "slope", "r_squared", "left_out"),
    [
        pytest.param([8.0, 4.0, 2.0, 1.0], -math.log(2), 1.0, 0, id="halved in every layer"),
        pytest.param([0.0, 1.0, 3.0, 0.0, 27.0], math.log(3), 1.0, 2, id="zeros keep their place"),
        pytest.param([2.0, 2.0, 2.0], 0.0, math.nan, 0, id="all equal"),
        pytest.param([0.0, 0.0, 2.0], math.nan, math.nan, 2, id="one left"),
        pytest.param([0.0, 0.0], math.nan, math.nan, 2, id="none left"),
        pytest.param([1.0, math.nan, 3.0], math.nan, math.nan, 0, id="a NaN"),
        pytest.param([1.0, math.inf, 3.0], math.nan, math.nan, 0, id="an infinity"),
    ],
)
def test_slope_of_known_norms(norms, slope, r_squared, left_out, in_library):
    found = probes.gradient_norm_slope(in_library(np.array(norms)))
    np.testing.assert_allclose(float(found.slope), slope, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(float(found.r_squared), r_squared, rtol=1e-12)
    assert int(found.left_out) == left_out


def test_layers_off_the_line_lower_the_share_that_it_explains(in_library):
    assert float(probes.gradient_norm_slope(in_library(np.array([1.0, 9.0, 1.0]))).r_squared) < 1e-15


PARTS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(max_examples=40)
@given(PARTS, st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_the_cosine_over_tensors_is_that_of_the_whole_and_free_of_scale(sizes, seed, factor):
    rng = np.random.default_rng(seed)
    now, before = ([rng.standard_normal((2, size)) for size in sizes] for _ in range(2))
    one, other = (np.concatenate([part.ravel() for part in parts]) for parts in (now, before))
    truth = 1 - scipy.spatial.distance.cosine(one, other)
    found = probes.gradient_cosine([factor * part for part in now], before)
    assert float(found) == pytest.approx(truth, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        pytest.param([1.0, 2.0], [2.0, 4.0], 1.0, id="the same way"),
        pytest.param([1.0, 2.0], [-1.0, -2.0], -1.0, id="back"),
        pytest.param([1.0, 0.0], [0.0, 1.0], 0.0, id="turned by a right angle"),
        pytest.param([0.0, 0.0], [0.0, 1.0], math.nan, id="a gradient of zero"),
        pytest.param([math.nan, 1.0], [0.0, 1.0], math.nan, id="a NaN"),
        pytest.param([math.inf, 1.0], [0.0, 1.0], math.nan, id="an infinity"),
        pytest.param([1e200, 1.0], [1e200, 1.0], math.nan, id="squares beyond float64"),
        pytest.param([1e-200, 0.0], [1e-200, 0.0], math.nan, id="squares below float64"),
    ],
)
@pytest.mark.parametrize("side", [gradients._cosine_on_host, gradients._cosine_on_device])
def test_cosine_of_known_gradients(now, before, expected, side):
    if side is gradients._cosine_on_device:
        torch = pytest.importorskip("torch")
        pairs = [(torch.asarray(np.array(now)), torch.asarray(np.array(before)))]
    else:
        pairs = [(np.array(now), np.array(before))]
    np.testing.assert_allclose(float(side(pairs)), expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_narrow_types_are_multiplied_in_float64(dtype, in_library):
    now, before = (in_library(np.array(entries, dtype=dtype)) for entries in ([300, 400], [400, 300]))
    assert float(probes.gradient_cosine([now], [before])) == pytest.approx(0.96, rel=1e-15)


def test_a_vanished_float32_gradient_has_a_direction_still(in_library):
    now = in_library(np.array([3e-30, 4e-30], dtype=np.float32))
    before = in_library(np.array([4e-30, 3e-30], dtype=np.float32))
    assert float(probes.gradient_cosine([now], [before])) == pytest.approx(0.96, rel=1e-6)


def test_tensors_that_lie_differently_in_memory_are_paired_entry_by_entry():
    now, before = np.random.default_rng(0).standard_normal((2, 300, 200))
    expected = float(probes.gradient_cosine([now], [before]))
    fortran, strided = np.asfortranarray(before), np.repeat(before, 2, axis=1)[:, ::2]
    for other in (fortran, strided):
        assert float(probes.gradient_cosine([now], [other])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("now", "before"),
    [([], []), ([np.ones(2)], []), ([np.ones(2)], [np.ones(3)])],
    ids=["none", "one missing", "another shape"],
)
def test_gradients_that_do_not_pair_are_refused(now, before):
    with pytest.raises(ValueError, match="needs two lists of gradients of the same tensors, got shapes"):
        probes.gradient_cosine(now, before)


@pytest.mark.parametrize(
    ("entries", "zeros", "non_finite"),
    [
        pytest.param([0.0, -0.0, 1.0, 2.0], 0.5, 0.0, id="zeros of both signs"),
        pytest.param([0.0, math.nan, math.inf, -math.inf], 0.25, 0.75, id="NaN and infinities"),
        pytest.param([1.0], 0.0, 0.0, id="in health"),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fractions_of_known_gradients(entries, zeros, non_finite, dtype, in_library):
    gradient = in_library(np.array(entries, dtype=dtype))
    assert float(probes.gradient_zero_fraction(gradient)) == zeros
    assert float(probes.gradient_non_finite_fraction(gradient)) == non_finite


@pytest.mark.parametrize("measure", [probes.gradient_zero_fraction, probes.gradient_non_finite_fraction])
def test_a_fraction_of_nothing_is_refused(measure):
    with pytest.raises(ValueError, match=r"needs at least one entry, got shape \(0, 3\)"):
        measure(np.ones((0, 3)))


def test_numpy_and_torch_compare_steps_alike():
    torch = pytest.importorskip("torch")
    now, before = np.random.default_rng(0).standard_normal((2, 70, 1000))
    expected = float(probes.gradient_cosine([now], [before]))
    pair = torch.asarray(now).requires_grad_(), torch.asarray(before)
    for measured in (probes.gradient_cosine(pair[:1], pair[1:]), gradients._cosine_on_device([pair])):
        assert isinstance(measured, torch.Tensor)
        assert not measured.requires_grad
        assert float(measured) == pytest.approx(expected, rel=1e-12)
