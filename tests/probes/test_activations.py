import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes
from probes import UnitActivity

SPARSE = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40, math.nan])
BATCHES = arrays_of.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=SPARSE)


def he_network(width: int, depth: int, examples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Outputs of the rectifiers of a He-initialised network on normal data."""
    outputs, signal = [], rng.standard_normal((examples, width))
    for _ in range(depth):
        weight = rng.standard_normal((width, width)) * math.sqrt(2 / width)
        signal = np.maximum(signal @ weight, 0.0)
        outputs.append(signal)
    return outputs


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


# -------------------------------------------------------------------------------------- dead units


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        pytest.param([[0.0, 1.0], [0.0, 0.0]], 0.5, id="one of two"),
        pytest.param([[0.0, 0.0]], 1.0, id="all"),
        pytest.param([[1.0, 0.0], [0.0, 1.0]], 0.0, id="half the entries are zero but no unit is dead"),
        pytest.param([[1.0, -0.0], [-1.0, 0.0]], 0.5, id="signs that cancel are no zero, a minus zero is"),
        pytest.param([[math.nan, 0.0]], 0.5, id="NaN counts as firing"),
        pytest.param([[1e-320, 0.0]], 0.5, id="the smallest number is not zero"),
        pytest.param([[1, 0, 0, 0]], 0.75, id="integers"),
    ],
)
def test_dead_unit_rate_of_known_batches(activation, expected, in_library):
    assert float(probes.dead_unit_rate(in_library(np.array(activation)))) == expected


def test_a_third_is_a_third_in_float64(in_library):
    assert float(probes.dead_unit_rate(in_library(np.array([[1.0, 2.0, 0.0]])))) == pytest.approx(
        1 / 3, rel=1e-15
    )


def test_a_channel_is_a_unit_and_fires_where_any_position_does(in_library):
    activation = np.zeros((2, 3, 4, 4))
    activation[1, 0, 2, 3] = 1.0
    activation[:, 1] = -1.0
    assert probes.firing_units(in_library(activation)).tolist() == [True, True, False]
    assert float(probes.dead_unit_rate(in_library(activation))) == pytest.approx(1 / 3)


def test_a_healthy_rectifier_network_has_no_dead_unit_although_half_its_entries_are_zero():
    for activation in he_network(width=64, depth=4, examples=500, rng=np.random.default_rng(0)):
        assert 0.35 < np.mean(activation == 0) < 0.65
        assert float(probes.dead_unit_rate(activation)) == 0.0


def test_a_large_negative_bias_kills_every_unit(in_library):
    signal = np.random.default_rng(0).standard_normal((64, 16))
    assert float(probes.dead_unit_rate(in_library(np.maximum(signal - 100, 0)))) == 1.0


@settings(max_examples=60)
@given(BATCHES, BATCHES)
def test_the_rate_never_rises_as_examples_are_added(batch, more):
    together = np.concatenate([batch, more])
    assert float(probes.dead_unit_rate(together)) <= float(probes.dead_unit_rate(batch))


@settings(max_examples=40)
@given(BATCHES, st.permutations(range(5)))
def test_the_rate_does_not_depend_on_the_order_of_examples_or_units(batch, order):
    assert probes.dead_unit_rate(batch[::-1][:, order]) == probes.dead_unit_rate(batch)


@pytest.mark.parametrize(
    "measure",
    [probes.dead_unit_rate, probes.firing_units, UnitActivity().add],
    ids=["rate", "units", "pooled"],
)
def test_an_activation_without_units_is_refused(measure):
    with pytest.raises(ValueError, match=r"needs an activation of shape \(batch, units, ...\), got \(3,\)"):
        measure(np.zeros(3))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3, 0)], ids=str)
@pytest.mark.parametrize(
    "measure",
    [
        probes.activation_mean,
        probes.activation_rms,
        probes.dead_unit_rate,
        probes.firing_units,
        lambda activation: probes.saturation_rate(activation, 0.0, 1.0),
        UnitActivity().add,
    ],
    ids=["mean", "rms", "dead", "units", "saturation", "pooled"],
)
def test_an_activation_that_holds_nothing_is_refused(measure, shape):
    with pytest.raises(ValueError, match="needs at least one example and one unit, got shape"):
        measure(np.zeros(shape))


# --------------------------------------------------------------------------------- pooled over time


def test_dead_on_one_batch_but_alive_on_another_is_not_dead(in_library):
    activity = UnitActivity(window=4)
    activity.add(in_library(np.array([[0.0, 1.0], [0.0, 0.0]])))
    activity.add(in_library(np.array([[2.0, 0.0], [0.0, 0.0]])))
    assert float(activity.dead_unit_rate()) == 0.0


def test_there_is_no_rate_until_the_window_is_full(in_library):
    activity = UnitActivity()
    rates = []
    for _ in range(4):
        activity.add(in_library(np.zeros((300, 2))))
        rates.append(float(activity.dead_unit_rate()))
    assert activity.examples == 1200
    np.testing.assert_equal(rates, [math.nan, math.nan, math.nan, 1.0])


def test_there_is_no_rate_without_a_batch():
    assert math.isnan(UnitActivity().dead_unit_rate())


def test_the_window_is_the_shortest_run_of_latest_batches_that_fills_it(in_library):
    activity = UnitActivity(window=10)
    fires, silent = in_library(np.ones((4, 1))), in_library(np.zeros((4, 1)))
    activity.add(fires)
    rates = []
    for _ in range(3):
        activity.add(silent)
        rates.append(float(activity.dead_unit_rate()))
    # Three batches of four are the first that hold ten examples: the unit fired before them.
    np.testing.assert_equal(rates, [math.nan, 0.0, 1.0])


def test_a_unit_comes_back_to_life():
    activity = UnitActivity(window=2)
    activity.add(np.zeros((2, 2)))
    activity.add(np.array([[0.0, 1.0]]))
    assert float(activity.dead_unit_rate()) == 0.5


@settings(max_examples=40)
@given(st.lists(BATCHES, min_size=1, max_size=5), st.integers(1, 8))
def test_pooling_equals_the_rate_of_the_latest_batches_joined(batches, window):
    activity = UnitActivity(window=window)
    for batch in batches:
        activity.add(batch)
    latest: list[np.ndarray] = []
    while batches and sum(map(len, latest)) < window:
        latest.append(batches.pop())
    enough = sum(map(len, latest)) >= window
    expected = probes.dead_unit_rate(np.concatenate(latest)) if enough else math.nan
    np.testing.assert_equal(activity.dead_unit_rate(), expected)


def test_the_pooled_rate_stays_in_the_library_of_its_activations():
    torch = pytest.importorskip("torch")
    activity = UnitActivity(window=1)
    activity.add(torch.zeros(1, 3))
    assert isinstance(activity.dead_unit_rate(), torch.Tensor)


def test_another_number_of_units_is_refused():
    activity = UnitActivity()
    activity.add(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="needs batches of one layer, got 4 units after 3"):
        activity.add(np.zeros((2, 4)))


def test_a_window_without_examples_is_refused():
    with pytest.raises(ValueError, match="needs a window of at least 1 example, got 0"):
        UnitActivity(window=0)


# ---------------------------------------------------------------------------------------- saturation


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


@settings(max_examples=60)
@given(st.floats(-20, 20))
def test_saturation_is_a_slope_below_one_percent_of_the_largest(x):
    tanh, sigmoid = math.tanh(x), 1 / (1 + math.exp(-x))
    for output, low, high, slope in [
        (tanh, -1, 1, 1 - tanh**2),
        (sigmoid, 0, 1, 4 * sigmoid * (1 - sigmoid)),
    ]:
        if not math.isclose(slope, 0.01, rel_tol=1e-9):
            assert bool(probes.saturation_rate(np.array([output]), low, high)) == (slope < 0.01)


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 1.0), (1.0, -1.0), (0.0, math.inf), (-math.inf, 0.0), (math.nan, 1.0)]
)
def test_limits_that_bound_nothing_are_refused(low, high):
    with pytest.raises(ValueError, match="needs finite limits low < high"):
        probes.saturation_rate(np.zeros((1, 1)), low, high)


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
@pytest.mark.parametrize(
    "measure",
    [
        probes.activation_mean,
        probes.activation_rms,
        probes.dead_unit_rate,
        probes.firing_units,
        probes.non_finite_count,
        lambda activation: probes.saturation_rate(activation, -1.0, 1.0),
    ],
    ids=["mean", "rms", "dead", "units", "non_finite", "saturation"],
)
def test_numpy_and_torch_measure_the_same(measure, shape):
    torch = pytest.importorskip("torch")
    activation = np.tanh(np.maximum(np.random.default_rng(0).standard_normal(shape) * 3 - 2, 0))
    measured = measure(torch.asarray(activation).requires_grad_())
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(activation), rtol=1e-12)


@pytest.mark.parametrize(
    "measure",
    [
        probes.activation_mean,
        probes.activation_rms,
        probes.dead_unit_rate,
        probes.non_finite_count,
        lambda activation: probes.saturation_rate(activation, -1.0, 1.0),
    ],
    ids=["mean", "rms", "dead", "non_finite", "saturation"],
)
def test_bfloat16_is_read(measure):
    torch = pytest.importorskip("torch")
    activation = torch.ones((3, 2), dtype=torch.bfloat16)
    assert float(measure(activation)) == float(measure(activation.double()))


def test_a_batch_that_is_added_tells_its_own_dead_unit_rate():
    batch = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -2.0]])
    assert (
        float(probes.UnitActivity().add(batch)) == float(probes.dead_unit_rate(batch)) == pytest.approx(1 / 3)
    )
