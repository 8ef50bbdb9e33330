"""The gradient noise scale: against Gaussian gradients whose scale is known."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes

SIGNAL, DIMENSION = 2.0, 50
MEAN = np.full(DIMENSION, SIGNAL / math.sqrt(DIMENSION))
SPREAD = np.linspace(0.5, 2.0, DIMENSION)
TRUE_VARIANCE = float((SPREAD**2).sum())
TRUE_SCALE = TRUE_VARIANCE / SIGNAL**2


def gaussian_gradients(rng: np.random.Generator, examples: int):
    return MEAN + SPREAD * rng.standard_normal((examples, DIMENSION))


def norms_of(rng: np.random.Generator, small: int, big: int):
    gradients = gaussian_gradients(rng, big)
    return np.linalg.norm([gradients[:small].mean(axis=0), gradients.mean(axis=0)], axis=1)


@settings(max_examples=60)
@given(st.floats(0.0, 10.0), st.floats(0.01, 100.0), st.integers(1, 20), st.integers(21, 500))
def test_expected_norms_give_back_signal_and_noise(squared_norm, variance, small, big):
    norms = np.sqrt([squared_norm + variance / small, squared_norm + variance / big])
    noise = probes.gradient_noise(norms, (small, big))
    assert float(noise.variance) == pytest.approx(variance, rel=1e-9)
    assert float(noise.squared_norm) == pytest.approx(squared_norm, rel=1e-9, abs=1e-9 * variance)
    swapped = probes.gradient_noise(norms[::-1].copy(), (big, small))
    np.testing.assert_allclose([*swapped], [*noise], rtol=1e-9, atol=1e-9 * variance)


def test_the_estimates_are_without_bias():
    rng = np.random.default_rng(0)
    found = np.array([probes.gradient_noise(norms_of(rng, 4, 16), (4, 16)) for _ in range(2000)])
    errors = found.std(axis=0, ddof=1) / math.sqrt(len(found))
    off = (found.mean(axis=0) - [SIGNAL**2, TRUE_VARIANCE]) / errors
    assert np.all(np.abs(off) < 3)
    # A biased estimate, such as the large batch's own squared norm, would be off by far more than that.
    assert 10 * errors[0] < TRUE_VARIANCE / 16


def test_the_interval_of_the_ratio_covers_the_true_scale():
    covered = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        signal, noise = np.transpose(
            [probes.gradient_noise(norms_of(rng, 4, 32), (4, 32)) for _ in range(200)]
        )
        ratio = noise.mean() / signal.mean()
        error = (noise - ratio * signal).std(ddof=1) / math.sqrt(200) / signal.mean()
        covered.append(abs(ratio - TRUE_SCALE) < 1.96 * error)
    assert 90 <= sum(covered) <= 99


def test_a_ratio_of_averages_is_close_where_an_average_of_ratios_is_not():
    rng = np.random.default_rng(0)
    moving = probes.GradientNoiseScale(decay=0.998)
    ratios = []
    for _ in range(2000):
        norms = norms_of(rng, 2, 8)
        noise = moving.add(norms, (2, 8))
        ratios.append(float(probes.gradient_noise(norms, (2, 8)).scale))
    assert float(noise.scale) == pytest.approx(TRUE_SCALE, rel=0.1)
    assert abs(np.nanmean(ratios) - TRUE_SCALE) > 0.5 * TRUE_SCALE


def test_the_averages_are_weighted_by_the_decay(in_library):
    steps = [in_library(np.array(norms)) for norms in ([3.0, 1.0], [2.0, 1.0], [4.0, 2.0])]
    single = np.array([probes.gradient_noise(norms, (1, 10)) for norms in steps])
    moving = probes.GradientNoiseScale(decay=0.5)
    for norms in steps:
        noise = moving.add(norms, (1, 10))
    np.testing.assert_allclose([float(n) for n in noise], np.average(single, axis=0, weights=[1, 2, 4]))


def test_the_first_reading_is_that_of_the_first_step(in_library):
    norms = in_library(np.array([3.0, 1.0]))
    noise = probes.GradientNoiseScale(decay=0.99).add(norms, (1, 10))
    np.testing.assert_allclose(
        [float(n) for n in noise], [*probes.gradient_noise(norms, (1, 10))], rtol=1e-12
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
def test_a_step_that_is_not_finite_is_said_and_left_out(bad, in_library):
    moving = probes.GradientNoiseScale()
    good = in_library(np.array([2.0, 1.0]))
    before = moving.add(good, (10, 100))
    spoilt = moving.add(in_library(np.array([2.0, bad])), (10, 100))
    assert math.isnan(float(spoilt.scale))
    assert int(moving.left_out) == 1
    after = moving.add(good, (10, 100))
    assert float(after.scale) == pytest.approx(float(before.scale), rel=1e-12)
    assert int(moving.left_out) == 1


@pytest.mark.parametrize("norms", [[3.0, 0.5], [0.0, 0.0]], ids=["negative", "zero"])
def test_without_signal_the_scale_is_undefined_and_never_infinite(norms, in_library):
    row = in_library(np.array(norms))
    for noise in (probes.gradient_noise(row, (1, 2)), probes.GradientNoiseScale().add(row, (1, 2))):
        assert float(noise.squared_norm) <= 0
        assert math.isnan(float(noise.scale))


def test_single_examples_are_a_batch_of_one(in_library):
    gradients = gaussian_gradients(np.random.default_rng(0), 200)
    mean = gradients.mean(axis=0)
    noise = probes.example_noise(probes.example_products(in_library(gradients), in_library(mean)))
    variance = gradients.var(axis=0, ddof=1).sum()
    assert float(noise.variance) == pytest.approx(variance, rel=1e-12)
    assert float(noise.squared_norm) == pytest.approx(mean @ mean - variance / 200, rel=1e-10)
    assert float(noise.scale) == pytest.approx(TRUE_SCALE, rel=0.3)


@pytest.mark.parametrize("norms", [np.ones(1), np.ones(3), np.ones((1, 2))], ids=["one", "three", "2-D"])
def test_two_norms_are_needed(norms):
    with pytest.raises(ValueError, match="needs two norms in a 1-D array, got shape"):
        probes.gradient_noise(norms, (1, 2))


@pytest.mark.parametrize("sizes", [(4, 4), (0, 4), (-1, 4), (1, 2, 3)], ids=str)
def test_two_different_batch_sizes_are_needed(sizes):
    with pytest.raises(ValueError, match="needs two positive batch sizes that differ, got"):
        probes.gradient_noise(np.ones(2), sizes)


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan], ids=str)
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"needs a decay in \[0, 1\), got"):
        probes.GradientNoiseScale(decay)


def test_one_example_has_no_noise_to_show():
    with pytest.raises(ValueError, match="example_noise needs at least two examples, got 1"):
        probes.example_noise(probes.example_products(np.ones((1, 2)), np.ones(2)))


def test_readings_stay_in_the_library_of_the_norms():
    torch = pytest.importorskip("torch")
    moving = probes.GradientNoiseScale()
    noise = moving.add(torch.tensor([2.0, 1.0], requires_grad=True), (10, 100))
    for number in (*noise, noise.scale, moving.left_out):
        assert isinstance(number, torch.Tensor)
        assert not number.requires_grad
