import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes
from probes import RecentUnits, UnitActivity

pytestmark = pytest.mark.usefixtures("compiled_or_not")

SPARSE = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40, math.nan])
BATCHES = arrays_of.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=SPARSE)
POSITIVE = arrays_of.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=st.floats(0, 9))


def he_network(width: int, depth: int, examples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Outputs of the rectifiers of a He-initialised network on normal data."""
    outputs, signal = [], rng.standard_normal((examples, width))
    for _ in range(depth):
        weight = rng.standard_normal((width, width)) * math.sqrt(2 / width)
        signal = np.maximum(signal @ weight, 0.0)
        outputs.append(signal)
    return outputs


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


def test_a_leaky_rectifier_has_no_dead_unit_and_a_silent_sigmoid_a_dormant_one(in_library):
    leaky = in_library(np.array([[-0.01, 1.0], [-0.02, 2.0]]))
    assert float(probes.dead_unit_rate(leaky)) == 0.0
    stuck = in_library(np.array([[1e-9, 0.5], [1e-12, 0.7]]))
    assert float(probes.dead_unit_rate(stuck)) == 0.0
    assert float(probes.dormant_unit_rate(stuck)) == 0.5


def test_a_large_negative_bias_kills_every_unit(in_library):
    signal = np.random.default_rng(0).standard_normal((64, 16))
    assert float(probes.dead_unit_rate(in_library(np.maximum(signal - 100, 0)))) == 1.0


@settings(max_examples=60, deadline=None)
@given(BATCHES, BATCHES)
def test_the_rate_never_rises_as_examples_are_added(batch, more):
    together = np.concatenate([batch, more])
    assert float(probes.dead_unit_rate(together)) <= float(probes.dead_unit_rate(batch))


@settings(max_examples=40, deadline=None)
@given(BATCHES, st.permutations(range(5)))
def test_the_rate_does_not_depend_on_the_order_of_examples_or_units(batch, order):
    assert probes.dead_unit_rate(batch[::-1][:, order]) == probes.dead_unit_rate(batch)


# ------------------------------------------------------------------------------------ dormant units


@pytest.mark.parametrize(
    ("activation", "tau", "expected"),
    [
        pytest.param([[1.0, 1.0, 1.0, 1.0]], 0.025, 0.0, id="all alike"),
        pytest.param([[0.1, 1.9]], 0.1, 0.5, id="at the limit"),
        pytest.param([[0.11, 1.89]], 0.1, 0.0, id="above the limit"),
        pytest.param([[-3.0, 0.0], [3.0, 0.0]], 0.025, 0.5, id="magnitudes do not cancel"),
        pytest.param([[0.0, 0.0], [0.0, 0.0]], 0.0, 1.0, id="a layer of zeros"),
        pytest.param([[0.0, 1e-9, 5.0]], 0.0, 1 / 3, id="tau 0 is dead units"),
        pytest.param([[math.nan, 1.0, 0.0]], 0.025, math.nan, id="NaN"),
        pytest.param([[math.inf, 1.0, 0.0]], 0.025, math.nan, id="infinity"),
        pytest.param([[0, 3], [0, -5]], 0.025, 0.5, id="integers"),
    ],
)
def test_dormant_unit_rate_of_known_batches(activation, tau, expected, in_library):
    measured = probes.dormant_unit_rate(in_library(np.array(activation)), tau)
    assert float(measured) == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_channels_magnitude_is_its_mean_over_examples_and_positions(in_library):
    activation = np.ones((3, 4, 2, 2))
    activation[:, 1] = 0.0
    activation[1, 1, 0, 1] = -0.24  # A mean of 0.02, and of 0.755 over the layer.
    activation[:, 2] *= -1
    for tau, expected in [(0.025, 0.0), (0.027, 0.25)]:
        assert float(probes.dormant_unit_rate(in_library(activation), tau)) == expected


@settings(max_examples=40, deadline=None)
@given(POSITIVE, st.floats(0, 0.9), st.floats(1e-3, 1e3))
def test_dormancy_is_the_score_of_its_paper_and_does_not_change_with_scale(batch, tau, scale):
    score = np.abs(batch).mean(0) / (np.abs(batch).mean() or 1.0)
    if (np.abs(score - tau) > 1e-9).all():
        assert float(probes.dormant_unit_rate(batch, tau)) == pytest.approx(np.mean(score <= tau))
        assert float(probes.dormant_unit_rate(batch * scale, tau)) == pytest.approx(np.mean(score <= tau))


def test_magnitudes_are_summed_in_float64(in_library):
    activation = np.full((4, 2), 3e38, dtype=np.float32)
    assert float(probes.dormant_unit_rate(in_library(activation))) == 0.0


@pytest.mark.parametrize("tau", [-0.1, 1.0, math.nan])
@pytest.mark.parametrize("measure", [probes.dormant_unit_rate, RecentUnits().dormant_unit_rate])
def test_a_share_that_calls_common_units_dormant_is_refused(measure, tau):
    with pytest.raises(ValueError, match="dormant_unit_rate needs 0 <= tau < 1, got .* use 0.025"):
        measure(tau=tau) if measure != probes.dormant_unit_rate else measure(np.ones((1, 1)), tau=tau)


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


@settings(max_examples=40, deadline=None)
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


@pytest.mark.parametrize("pooled", [UnitActivity, RecentUnits])
def test_another_number_of_units_is_refused(pooled):
    activity = pooled()
    activity.add(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="needs batches of one layer, got 4 units after 3; keep one"):
        activity.add(np.zeros((2, 4)))


@pytest.mark.parametrize("pooled", [UnitActivity, RecentUnits])
def test_a_window_without_examples_is_refused(pooled):
    with pytest.raises(ValueError, match="needs a window of at least 1 example, got 0"):
        pooled(window=0)


def test_a_batch_that_is_added_tells_its_own_dead_unit_rate():
    batch = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -2.0]])
    assert (
        float(probes.UnitActivity().add(batch)) == float(probes.dead_unit_rate(batch)) == pytest.approx(1 / 3)
    )


# ------------------------------------------------------------------- counts over the latest batches


@settings(max_examples=40, deadline=None)
@given(st.lists(POSITIVE, min_size=1, max_size=5), st.integers(1, 8))
def test_recent_units_are_measured_as_the_latest_batches_joined(batches, window):
    recent = RecentUnits(window=window)
    for batch in batches:
        recent.add(batch)
    latest: list[np.ndarray] = []
    while batches and sum(map(len, latest)) < window:
        latest.append(batches.pop())
    joined = np.concatenate(latest)
    assert recent.examples == len(joined)
    if len(joined) < window:
        assert np.isnan(recent.firing_rates()).all()
        assert math.isnan(recent.dormant_unit_rate())
    else:
        np.testing.assert_allclose(recent.firing_rates(), np.mean(joined != 0, axis=0), rtol=1e-12)
        assert recent.dormant_unit_rate(tau=0.0) == probes.dormant_unit_rate(joined, tau=0.0)


def test_an_example_counts_once_for_a_channel_however_many_positions_fire(in_library):
    activation = np.zeros((4, 2, 3, 3))
    activation[0, 0] = 1.0
    activation[1, 0, 2, 2] = -1.0
    recent = RecentUnits(window=4)
    recent.add(in_library(activation))
    assert recent.firing_rates().tolist() == [0.5, 0.0]
    assert float(recent.dormant_unit_rate()) == 0.5


def test_maps_of_different_size_weigh_by_their_examples(in_library):
    recent = RecentUnits(window=2)
    recent.add(in_library(np.array([[[1.0] * 10, [0.04] * 10]])))
    recent.add(in_library(np.array([[[1.0], [0.0]]])))
    # Means of 1 and 0.02 over examples, and so a share of 0.039 of the layer's 0.51.
    assert float(recent.dormant_unit_rate(tau=0.039)) == 0.0
    assert float(recent.dormant_unit_rate(tau=0.040)) == 0.5


def test_recent_units_stay_in_the_library_of_their_activations():
    torch = pytest.importorskip("torch")
    recent = RecentUnits(window=1)
    recent.add(torch.ones(2, 3, requires_grad=True))
    assert isinstance(recent.firing_rates(), torch.Tensor)
    assert isinstance(recent.dormant_unit_rate(), torch.Tensor)
    assert not recent.firing_rates().requires_grad


def test_rates_without_a_batch_are_refused():
    with pytest.raises(ValueError, match="RecentUnits.firing_rates needs at least one batch, got none; add"):
        RecentUnits().firing_rates()
