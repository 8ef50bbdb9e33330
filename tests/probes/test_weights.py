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
