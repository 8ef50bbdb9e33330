import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes

SIZES = st.floats(0.01, 100.0)
PARAMETERS = arrays_of.arrays(np.float64, (3, 2), elements=SIZES)


@settings(max_examples=40)
@given(PARAMETERS, PARAMETERS, st.floats(1e-6, 1.0))
def test_plain_gradient_descent_moves_by_the_learning_rate_times_gradient_over_weight(weight, gradient, rate):
    expected = rate * np.linalg.norm(gradient) / np.linalg.norm(weight)
    assert float(probes.update_ratio(weight, -rate * gradient)) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40)
@given(PARAMETERS, PARAMETERS, st.permutations(range(3)))
def test_the_ratio_does_not_depend_on_the_order_of_entries(weight, update, order):
    plain = float(probes.update_ratio(weight, update))
    assert float(probes.update_ratio(weight[order], update[order])) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize(
    ("weight", "update", "expected"),
    [
        pytest.param([3.0, 4.0], [0.0, 0.5], 0.1, id="a tenth"),
        pytest.param([3.0, 4.0], [0.0, 0.0], 0.0, id="a frozen parameter"),
        pytest.param([0.0, 0.0], [1.0, 0.0], math.nan, id="a bias that starts at zero"),
        pytest.param([0.0, 0.0], [0.0, 0.0], math.nan, id="a bias that stays at zero"),
        pytest.param([1.0, 0.0], [math.nan, 0.0], math.nan, id="a NaN"),
        pytest.param([1e-30, 0.0], [1e-33, 0.0], 1e-3, id="squares below the smallest float32"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_update_ratio_of_known_steps(weight, update, expected, dtype, in_library):
    weight, update = (in_library(np.array(array, dtype=dtype)) for array in (weight, update))
    np.testing.assert_allclose(float(probes.update_ratio(weight, update)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("weight", "update"),
    [([5e-324], [1.0]), ([0.0], [1.0]), ([1.0], [math.inf])],
    ids=["a weight next to zero", "a weight of zero", "an update that overflowed"],
)
def test_the_ratio_is_never_infinite(weight, update, in_library):
    assert math.isnan(float(probes.update_ratio(in_library(np.array(weight)), in_library(np.array(update)))))


def test_a_bias_that_starts_at_zero_is_undefined_once_and_near_one_then(in_library):
    gradient = in_library(np.array([0.3, -0.1]))
    bias, step = 0 * gradient, -0.1 * gradient
    assert math.isnan(float(probes.update_ratio(bias, step)))
    assert float(probes.update_ratio(bias + step, step)) == pytest.approx(1.0)


def test_ratios_of_many_norms_come_at_once(in_library):
    ratios = probes.ratio_of_norms(
        in_library(np.array([0.5, 0.5, 0.0])), in_library(np.array([2.0, 0.0, 1.0]))
    )
    np.testing.assert_equal(np.asarray(ratios), [0.25, math.nan, 0.0])


def test_an_update_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"needs a weight and its own update, got shapes \(2,\) and \(3,\)"):
        probes.update_ratio(np.ones(2), np.ones(3))


def test_norms_of_weight_and_update_run_over_all_entries(in_library):
    array = in_library(np.array([[3.0, 0.0], [0.0, 4.0]]))
    assert float(probes.weight_norm(array)) == 5.0
    assert float(probes.update_norm(array)) == 5.0


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    weight, update = np.random.default_rng(0).standard_normal((2, 30, 20))
    measured = probes.update_ratio(torch.asarray(weight).requires_grad_(), torch.asarray(update))
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    assert float(measured) == pytest.approx(float(probes.update_ratio(weight, update)), rel=1e-12)


@settings(max_examples=40)
@given(PARAMETERS, PARAMETERS)
def test_the_distance_is_the_norm_of_all_updates_together(start, update):
    moved = probes.distance_from_start(start + update, start)
    assert float(moved) == pytest.approx(float(probes.update_norm(update)), rel=1e-10, abs=1e-12)
    assert float(moved) == pytest.approx(float(probes.distance_from_start(start, start + update)))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_distance_of_known_weights(dtype, in_library):
    start, weight = (in_library(np.array(entries, dtype=dtype)) for entries in ([3, 4], [0, 0]))
    assert float(probes.distance_from_start(weight, start)) == 5.0


def test_a_distance_is_measured_in_half_precision_too():
    torch = pytest.importorskip("torch")
    start = torch.tensor([3.0, 4.0], dtype=torch.bfloat16)
    assert float(probes.distance_from_start(0 * start, start)) == 5.0


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
def test_a_distance_to_nowhere_says_so(bad, in_library):
    weight = in_library(np.array([bad, 1.0]))
    np.testing.assert_equal(float(probes.distance_from_start(weight, in_library(np.ones(2)))), bad)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"a weight and its own start, got shapes \(2,\) and \(1, 2\)"):
        probes.distance_from_start(np.ones(2), np.ones((1, 2)))


def test_scale_invariant_weights_turn_by_the_effective_rate(in_library):
    """A step of a loss of the direction alone turns it by the effective rate times the gradient there."""
    rng = np.random.default_rng(0)
    target, weight, rate = rng.standard_normal(5), 7 * rng.standard_normal(5), 1e-6
    size = np.linalg.norm(weight)
    direction = weight / size
    slope = target - direction * (direction @ target)
    moved = weight - rate * slope / size
    turned = np.linalg.norm(moved / np.linalg.norm(moved) - direction)
    effective = float(probes.effective_learning_rate(in_library(weight), rate))
    assert turned == pytest.approx(effective * np.linalg.norm(slope), rel=1e-6)


@pytest.mark.parametrize(
    ("weight", "rate", "expected"),
    [
        pytest.param([3.0, 4.0], 0.5, 0.02, id="a fiftieth"),
        pytest.param([3.0, 4.0], 0.0, 0.0, id="a schedule that has ended"),
        pytest.param([0.0, 0.0], 0.1, math.nan, id="a weight of zero"),
        pytest.param([1e-200, 0.0], 0.1, math.nan, id="a weight next to zero"),
        pytest.param([math.nan, 0.0], 0.1, math.nan, id="a NaN"),
    ],
)
def test_effective_learning_rate_of_known_weights(weight, rate, expected, in_library):
    found = float(probes.effective_learning_rate(in_library(np.array(weight)), rate))
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf], ids=str)
def test_a_learning_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match="needs a finite learning rate of at least 0, got"):
        probes.effective_learning_rate(np.ones(2), rate)


def test_numpy_and_torch_measure_new_ones_the_same():
    torch = pytest.importorskip("torch")
    weight, start = np.random.default_rng(0).standard_normal((2, 30, 20))
    pair = torch.asarray(weight).requires_grad_(), torch.asarray(start)
    for measured, expected in (
        (probes.distance_from_start(*pair), probes.distance_from_start(weight, start)),
        (probes.effective_learning_rate(pair[0], 0.1), probes.effective_learning_rate(weight, 0.1)),
    ):
        assert isinstance(measured, torch.Tensor)
        assert not measured.requires_grad
        assert float(measured) == pytest.approx(float(expected), rel=1e-12)
