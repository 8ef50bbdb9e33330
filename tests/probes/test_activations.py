import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

import probes
from probes import RecentUnits, UnitActivity

# Every measure of one activation that is cheap enough for every step.
MEASURES = {
    "mean": probes.activation_mean,
    "rms": probes.activation_rms,
    "kurtosis": probes.activation_kurtosis,
    "zeros": probes.activation_zero_fraction,
    "non_finite": probes.non_finite_count,
    "saturation": lambda activation: probes.saturation_rate(activation, -1.0, 1.0),
    "flat": probes.flat_slope_rate,
}
OF_UNITS = {
    "dead": probes.dead_unit_rate,
    "units": probes.firing_units,
    "dormant": probes.dormant_unit_rate,
    "saturated": lambda activation: probes.saturated_unit_rate(activation, -1.0, 1.0),
    "flat_units": probes.flat_unit_rate,
}
POOLED = {
    "pooled": lambda activation: UnitActivity().add(activation),
    "recent": lambda activation: RecentUnits().add(activation),
}


def each(*tables: dict[str, Any]) -> Any:
    """One case for each measure of the tables."""
    named = {name: measure for table in tables for name, measure in table.items()}
    return pytest.mark.parametrize("measure", named.values(), ids=named)


# ---------------------------------------------------------------------------------- mean and size


def test_mean_and_rms_of_a_known_activation(in_library):
    activation = in_library(np.array([[3.0, -4.0], [3.0, -4.0]]))
    assert float(probes.activation_mean(activation)) == -0.5
    assert float(probes.activation_rms(activation)) == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int64", "float64")],
)
def test_a_mean_keeps_the_precision_of_its_activation_and_float32_at_least(dtype, expected, in_library):
    mean = probes.activation_mean(in_library(np.array([[1, 2], [3, 5]], dtype=dtype)))
    assert str(mean.dtype).endswith(expected)
    assert float(mean) == 2.75


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_mean_and_rms_carry_what_is_not_finite(value, in_library):
    activation = in_library(np.array([[1.0, value]]))
    np.testing.assert_equal(float(probes.activation_mean(activation)), value)
    np.testing.assert_equal(float(probes.activation_rms(activation)), value)


def test_opposite_infinities_have_no_mean_and_raise_no_warning(in_library):
    activation = in_library(np.array([[math.inf, -math.inf]], dtype=np.float32))
    assert math.isnan(probes.activation_mean(activation))


def test_rms_is_right_where_squares_leave_float32(in_library):
    activation = in_library(np.full((8, 8), 1e25, dtype=np.float32))
    assert float(probes.activation_rms(activation)) == pytest.approx(1e25, rel=1e-6)


# ---------------------------------------------------------------------------------- tails and zeros


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        pytest.param([[1.0, -1.0]], 1.0, id="two values"),
        pytest.param([[0.0] * 9 + [1.0]], 0.73 / 0.09, id="one entry far out"),
        pytest.param([[1.0, 2.0, 3.0, 4.0, 5.0]], 1.7, id="evenly spread"),
        pytest.param([[0.1] * 7], math.nan, id="constant, with a mean that rounds"),
        pytest.param([[1e9 - 1, 1e9 + 1]], 1.0, id="far from zero"),
        pytest.param([[1.0, math.nan]], math.nan, id="NaN"),
        pytest.param([[1.0, math.inf]], math.nan, id="infinity"),
        pytest.param([[1, 2, 3, 4, 5]], 1.7, id="integers"),
    ],
)
def test_kurtosis_of_known_activations(activation, expected, in_library):
    measured = float(probes.activation_kurtosis(in_library(np.array(activation))))
    assert measured == pytest.approx(expected, rel=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-90, 1e90), st.floats(-3, 3))
def test_kurtosis_is_scipys_whatever_the_scale(seed, scale, shift):
    activation = np.random.default_rng(seed).standard_normal((7, 5)) + shift
    expected = scipy.stats.kurtosis(activation, axis=None, fisher=False)
    assert float(probes.activation_kurtosis(activation * scale)) == pytest.approx(expected, rel=1e-9)


def test_kurtosis_of_more_entries_than_a_block_holds(in_library):
    activation = np.random.default_rng(0).exponential(size=(40, 1001))
    expected = scipy.stats.kurtosis(activation, axis=None, fisher=False)
    assert float(probes.activation_kurtosis(in_library(activation))) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        pytest.param([[0.0, -0.0, 1.0, -1.0]], 0.5, id="a minus zero is zero"),
        pytest.param([[math.nan, 0.0, math.inf]], 1 / 3, id="NaN is not zero"),
        pytest.param([[1e-320, 0.0]], 0.5, id="the smallest number is not zero"),
        pytest.param([[0, 0, 3]], 2 / 3, id="integers"),
    ],
)
def test_zero_fraction_of_known_activations(activation, expected, in_library):
    measured = float(probes.activation_zero_fraction(in_library(np.array(activation))))
    assert measured == pytest.approx(expected, rel=1e-15)


# ---------------------------------------------------------------------------------------- non-finite


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param([1.0, 2.0], 0, id="none"),
        pytest.param([[math.nan, 1.0], [math.inf, -math.inf]], 3, id="each kind"),
        pytest.param([1e308, 1e308], 0, id="finite although the norm is not"),
        pytest.param([], 0, id="empty"),
        pytest.param([1, 2], 0, id="integers"),
    ],
)
def test_non_finite_count_of_known_arrays(array, expected, in_library):
    assert int(probes.non_finite_count(in_library(np.array(array)))) == expected


# ---------------------------------------------------------------------------------------- libraries


@pytest.mark.parametrize("shape", [(20, 7), (6, 5, 4, 3)], ids=str)
@each(MEASURES, OF_UNITS)
def test_numpy_and_torch_measure_the_same(measure, shape):
    torch = pytest.importorskip("torch")
    activation = np.tanh(np.maximum(np.random.default_rng(0).standard_normal(shape) * 3 - 2, 0))
    measured = measure(torch.asarray(activation).requires_grad_())
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(activation), rtol=1e-12)


@each(MEASURES, OF_UNITS)
def test_views_that_are_not_contiguous_are_measured_as_they_are(measure, in_library):
    whole = np.tanh(np.random.default_rng(0).standard_normal((12, 8, 6)) * 3)
    view = in_library(whole).swapaxes(0, 1)[:, ::2]
    expected = measure(np.ascontiguousarray(whole.swapaxes(0, 1)[:, ::2]))
    np.testing.assert_allclose(np.asarray(measure(view)), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@each(MEASURES, OF_UNITS)
def test_half_precision_is_read(measure, dtype):
    torch = pytest.importorskip("torch")
    activation = torch.asarray([[1.0, 0.0], [1.0, 0.5], [1.0, -0.25]], dtype=getattr(torch, dtype))
    np.testing.assert_allclose(measure(activation).numpy(), measure(activation.double()).numpy(), rtol=1e-6)


@each(OF_UNITS, POOLED)
def test_an_activation_without_units_is_refused(measure):
    with pytest.raises(ValueError, match=r"needs an activation of shape \(batch, units, ...\), got \(3,\)"):
        measure(np.zeros(3))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3, 0)], ids=str)
@each({name: measure for name, measure in MEASURES.items() if name != "non_finite"}, OF_UNITS, POOLED)
def test_an_activation_that_holds_nothing_is_refused(measure, shape):
    with pytest.raises(ValueError, match="needs at least one example and one unit, got shape"):
        measure(np.zeros(shape))
