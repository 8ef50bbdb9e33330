import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings

import probes


@pytest.mark.parametrize(
    ("activation", "low", "high", "expected"),
    [
        pytest.param([[0.0, 0.0]], 0.0, 1.0, 1.0, id="sigmoid stuck at 0"),
        pytest.param([[1.0, 1.0]], 0.0, 1.0, 1.0, id="sigmoid stuck at 1"),
        pytest.param([[-1.0, 1.0]], -1.0, 1.0, 1.0, id="tanh stuck at both ends"),
        pytest.param([[0.5, 0.1]], 0.0, 1.0, 0.0, id="sigmoid in its slope"),
        pytest.param([[0.0, 0.9, -0.99, 0.999]], -1.0, 1.0, 0.25, id="tanh, one entry in four"),
        pytest.param([[math.nan, 1.0]], -1.0, 1.0, 0.5, id="NaN is not saturated"),
        pytest.param([[5.0, 0.0]], -1.0, 1.0, 0.5, id="beyond the limit"),
    ],
)
def test_saturation_rate_of_known_activations(activation, low, high, expected, in_library):
    assert float(probes.saturation_rate(in_library(np.array(activation)), low, high)) == expected


@settings(max_examples=60, deadline=None)
@given(st.floats(-20, 20))
def test_saturation_is_a_slope_below_one_percent_of_the_largest(x):
    tanh, sigmoid = math.tanh(x), 1 / (1 + math.exp(-x))
    for output, low, high, slope in [
        (tanh, -1, 1, 1 - tanh**2),
        (sigmoid, 0, 1, 4 * sigmoid * (1 - sigmoid)),
    ]:
        if not math.isclose(slope, 0.01, rel_tol=1e-9):
            assert bool(probes.saturation_rate(np.array([output]), low, high)) == (slope < 0.01)


def test_limits_that_bound_nothing_are_refused():
    for measure in (probes.saturation_rate, probes.saturated_unit_rate):
        for low, high in [(1.0, 1.0), (1.0, -1.0), (0.0, math.inf), (-math.inf, 0.0), (math.nan, 1.0)]:
            with pytest.raises(ValueError, match=f"{measure.__name__} needs finite limits low < high"):
                measure(np.zeros((1, 1)), low, high)


# ---------------------------------------------------------------------------------- saturated units


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        pytest.param([[1e-5, 0.5], [1e-9, 0.6]], 0.5, id="stuck at 0"),
        pytest.param([[1 - 1e-5, 0.5], [1.0, 0.6]], 0.5, id="stuck at 1"),
        pytest.param([[0.0, 0.5], [1.0, 0.6]], 0.5, id="from end to end"),
        pytest.param([[0.0, 1.0], [0.5, 0.6]], 0.0, id="half the entries but no unit"),
        pytest.param([[0.0, math.nan], [0.0, 0.0]], 0.5, id="NaN is not saturated"),
        pytest.param([[0, 1], [0, 1]], 1.0, id="integers"),
    ],
)
def test_saturated_unit_rate_of_known_sigmoids(activation, expected, in_library):
    assert float(probes.saturated_unit_rate(in_library(np.array(activation)), 0.0, 1.0)) == expected


def test_a_channel_is_saturated_where_all_its_positions_are(in_library):
    activation = np.zeros((2, 3, 2, 2))
    activation[1, 2, 1, 1] = 0.5
    measured = float(probes.saturated_unit_rate(in_library(activation), 0.0, 1.0))
    assert measured == pytest.approx(2 / 3, rel=1e-15)


# ---------------------------------------------------------------------------------------- any slope


NONLINEARITIES = {
    "tanh": (lambda z: 1 - np.tanh(z) ** 2, 1.0),
    "sigmoid": (lambda z: scipy.special.expit(z) * scipy.special.expit(-z), 0.25),
    "relu": (lambda z: (z > 0).astype(float), 1.0),
    "leaky relu": (lambda z: np.where(z > 0, 1.0, 0.01001), 1.0),
    "gelu": (lambda z: scipy.special.ndtr(z) + z * scipy.stats.norm.pdf(z), 1.129),
}


@pytest.mark.parametrize(
    ("name", "far_left", "far_right"),
    [("tanh", 1, 1), ("sigmoid", 1, 1), ("relu", 1, 0), ("leaky relu", 0, 0), ("gelu", 1, 0)],
)
def test_a_nonlinearity_is_flat_at_its_own_ends(name, far_left, far_right, in_library):
    derivative, steepest = NONLINEARITIES[name]
    preactivation = np.array([[-6.0, 0.1, 6.0], [-9.0, 0.2, 9.0]])
    slope = in_library(derivative(preactivation))
    units = float(probes.flat_unit_rate(slope, steepest))
    assert units == float(probes.flat_slope_rate(slope, steepest))
    assert units == pytest.approx((far_left + far_right) / 3, rel=1e-15)


@settings(max_examples=60, deadline=None)
@given(st.floats(-12, 12))
def test_slope_and_output_tell_the_same_of_a_sigmoid(preactivation):
    output = scipy.special.expit(preactivation)
    slope = np.array([output * (1 - output)])
    if not math.isclose(slope[0], 0.0025, rel_tol=1e-9):
        from_output = probes.saturation_rate(np.array([output]), 0.0, 1.0)
        assert float(probes.flat_slope_rate(slope, steepest=0.25)) == float(from_output)


@settings(max_examples=40, deadline=None)
@given(arrays_of.arrays(np.float64, (3, 4), elements=st.floats(-1, 1)))
def test_flat_units_of_a_rectifier_are_its_dead_units(preactivation):
    dead = probes.dead_unit_rate(np.maximum(preactivation, 0))
    assert float(probes.flat_unit_rate(preactivation > 0)) == float(dead)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        pytest.param([[0.005, -0.005, 0.5, -0.5]], 0.5, id="whatever the sign"),
        pytest.param([[math.nan, 0.0]], 0.5, id="NaN is not flat"),
        pytest.param([[True, False]], 0.5, id="booleans"),
        pytest.param([[0, 1]], 0.5, id="integers"),
    ],
)
def test_flat_slope_rate_of_known_slopes(slope, expected, in_library):
    assert float(probes.flat_slope_rate(in_library(np.array(slope)))) == expected


@pytest.mark.parametrize("steepest", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("measure", [probes.flat_slope_rate, probes.flat_unit_rate])
def test_a_largest_slope_that_is_none_is_refused(measure, steepest):
    with pytest.raises(ValueError, match="needs the largest slope of the nonlinearity, finite and above 0"):
        measure(np.zeros((1, 1)), steepest)
