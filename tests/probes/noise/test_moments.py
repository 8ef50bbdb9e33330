"""Mean, variance and signal-to-noise ratio of each entry: against NumPy on all examples at once."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes


def ratio_by_hand(gradients) -> float:
    mean, variance = gradients.mean(axis=0), gradients.var(axis=0, ddof=1)
    return float((mean**2 / variance).mean())


@pytest.mark.parametrize(
    ("gradients", "mean", "constant"),
    [
        pytest.param([[1.0], [3.0]], 2.0, 0.0, id="mean 2, variance 2"),
        pytest.param([[1.0, -1.0], [3.0, 1.0]], 1.0, 0.0, id="an entry without signal"),
        pytest.param([[1.0, 0.0, 0.1], [3.0, 0.0, 0.1]], 2.0, 2 / 3, id="entries without noise"),
        pytest.param([[0.0], [0.0]], math.nan, 1.0, id="none varies"),
        pytest.param([[1.0, math.nan], [3.0, 1.0]], math.nan, 0.0, id="a NaN"),
        pytest.param([[1.0, math.inf], [3.0, 1.0]], math.nan, 0.0, id="an infinity"),
    ],
)
def test_signal_to_noise_of_known_gradients(gradients, mean, constant, in_library):
    found = probes.gradient_signal_to_noise(in_library(np.array(gradients)))
    np.testing.assert_allclose(float(found.mean), mean, rtol=1e-12)
    assert float(found.constant_fraction) == pytest.approx(constant)


def test_pure_noise_reads_one_over_the_number_of_examples():
    gradients = np.random.default_rng(0).standard_normal((50, 20_000))
    # The mean of F(1, 49) over 50.
    assert float(probes.gradient_signal_to_noise(gradients).mean) == pytest.approx(49 / 47 / 50, rel=0.05)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.floats(-1e3, 1e3))
def test_chunks_make_up_the_whole(sizes, offset):
    gradients = np.random.default_rng(0).standard_normal((sum(sizes), 4, 3)) + offset
    moments = probes.GradientMoments()
    for chunk in np.split(gradients, np.cumsum(sizes)[:-1]):
        moments.add(chunk)
    assert moments.examples == len(gradients)
    np.testing.assert_allclose(moments.mean(), gradients.mean(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moments.variance(), gradients.var(axis=0, ddof=1), rtol=1e-9)
    assert float(moments.signal_to_noise().mean) == pytest.approx(ratio_by_hand(gradients), rel=1e-9)


@pytest.mark.parametrize("positions", [(), (1,), (3,), (2, 3)], ids=str)
def test_a_linear_layer_needs_no_gradients_for_its_moments(positions, in_library):
    rng = np.random.default_rng(0)
    x, delta = rng.standard_normal((9, *positions, 5)), rng.standard_normal((9, *positions, 4))
    gradients = np.einsum("bti,bto->boi", x.reshape(9, -1, 5), delta.reshape(9, -1, 4))
    moments = probes.GradientMoments()
    for rows in (slice(0, 4), slice(4, 9)):
        moments.add_linear(in_library(x[rows]), in_library(delta[rows]))
    np.testing.assert_allclose(moments.mean(), gradients.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(moments.variance(), gradients.var(axis=0, ddof=1), rtol=1e-10)
    assert float(moments.signal_to_noise().mean) == pytest.approx(ratio_by_hand(gradients), rel=1e-10)


def test_weights_behind_a_dead_unit_are_left_out_either_way(in_library):
    rng = np.random.default_rng(0)
    x, delta = rng.standard_normal((9, 5)), rng.standard_normal((9, 4))
    delta[:, 1], x[:, 0], delta[:, 2] = 0, 0.1, 0.7
    gradients = np.einsum("bi,bo->boi", x, delta)
    linear, formed = probes.GradientMoments(), probes.GradientMoments()
    linear.add_linear(in_library(x), in_library(delta))
    formed.add(in_library(gradients))
    # A row behind the dead unit, and the weight between two units that never change.
    for found in (linear.signal_to_noise(), formed.signal_to_noise()):
        assert float(found.constant_fraction) == pytest.approx(6 / 20)
    assert float(linear.signal_to_noise().mean) == pytest.approx(
        float(formed.signal_to_noise().mean), rel=1e-10
    )


def test_the_sum_of_variances_is_the_trace_that_the_products_tell():
    gradients = np.random.default_rng(0).standard_normal((20, 30)) + 1
    moments = probes.GradientMoments()
    moments.add(gradients)
    noise = probes.example_noise(probes.example_products(gradients, moments.mean()))
    assert float(noise.variance) == pytest.approx(float(moments.variance().sum()), rel=1e-12)


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0)], ids=["no axis", "no examples", "no entries"])
def test_empty_chunks_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs gradients of shape \(examples, \*shape\), got"):
        probes.gradient_signal_to_noise(np.ones(shape))


def test_one_example_does_not_vary():
    with pytest.raises(ValueError, match="signal_to_noise needs at least 2 examples, got 1"):
        probes.gradient_signal_to_noise(np.ones((1, 3)))
    with pytest.raises(ValueError, match="mean needs at least 1 examples, got 0"):
        probes.GradientMoments().mean()


def test_another_tensor_is_refused():
    moments = probes.GradientMoments()
    moments.add(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"needs gradients of one tensor, got shape \(4,\) after \(3,\)"):
        moments.add(np.ones((2, 4)))


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(0).standard_normal((9, 40, 30))
    measured = probes.gradient_signal_to_noise(torch.asarray(gradients).requires_grad_())
    for number, expected in zip(measured, probes.gradient_signal_to_noise(gradients), strict=True):
        assert isinstance(number, torch.Tensor)
        assert not number.requires_grad
        assert float(number) == pytest.approx(float(expected), rel=1e-12)
