"""Spectral norm and exponent: against matrices of known singular values, and a search by SciPy."""

import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings

import probes


def with_singular_values(values):
    """A matrix of these singular values, in no special position."""
    rng = np.random.default_rng(0)
    values = np.asarray(values)
    left, _ = np.linalg.qr(rng.standard_normal((len(values) + 5, len(values))))
    right, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return left * values @ right.T


def pareto_matrix(exponent: float, size: int, seed: int):
    """A weight whose eigenvalues are drawn from the density λ ** -exponent above 1."""
    eigenvalues = scipy.stats.pareto(exponent - 1).rvs(size, random_state=seed)
    return np.diag(np.sqrt(eigenvalues))


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        pytest.param(with_singular_values([5.0, 2.0, 0.1]), 5.0, id="the largest of three"),
        pytest.param(np.eye(4), 1.0, id="identity"),
        pytest.param(np.zeros((3, 2)), 0.0, id="zero"),
        pytest.param(np.outer([3.0, 4.0], [1.0, 0.0, 0.0]), 5.0, id="rank one"),
        pytest.param(np.full((2, 3, 2, 2), 0.5), math.sqrt(6.0), id="a convolution's weight"),
        pytest.param(1e200 * np.eye(2), 1e200, id="squares beyond float64"),
        pytest.param([[math.nan, 0.0], [0.0, 1.0]], math.nan, id="a NaN"),
        pytest.param([[math.inf, 0.0], [0.0, 1.0]], math.nan, id="an infinity"),
    ],
)
def test_spectral_norm_of_known_weights(weight, expected, in_library):
    found = float(probes.spectral_norm(in_library(np.array(weight))))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(max_examples=40)
@given(arrays_of.arrays(np.float64, (3, 4), elements=st.floats(-10, 10)), st.floats(-5, 5))
def test_no_input_is_stretched_further(weight, factor):
    stretch = float(probes.spectral_norm(weight))
    assert float(probes.spectral_norm(factor * weight)) == pytest.approx(abs(factor) * stretch, abs=1e-9)
    assert stretch <= float(probes.weight_norm(weight)) * (1 + 1e-12)
    for x in np.eye(4):
        assert float(probes.norm(weight @ x)) <= stretch * (1 + 1e-12)


def test_stable_rank_is_the_ratio_of_both_squared_norms(in_library):
    weight = in_library(with_singular_values([3.0, 2.0, 1.0]))
    ratio = float(probes.weight_norm(weight)) ** 2 / float(probes.spectral_norm(weight)) ** 2
    assert float(probes.stable_rank(weight)) == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32"])
def test_narrow_types_are_decomposed_in_float64(dtype, in_library):
    weight = in_library(np.array([[3, 0], [4, 0]], dtype=dtype))
    assert float(probes.spectral_norm(weight)) == pytest.approx(5.0, rel=1e-15)


@pytest.mark.parametrize("shape", [(5,), (0, 3), (3, 0), ()], ids=str)
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ValueError, match=r"spectral_norm needs a weight of shape \(out, in, ...\)"):
        probes.spectral_norm(np.ones(shape))


@pytest.mark.parametrize("exponent", [1.8, 2.5, 4.0])
def test_a_power_law_gives_back_its_exponent(exponent, in_library):
    found = probes.spectrum_exponent(in_library(pareto_matrix(exponent, 400, seed=0)))
    assert abs(float(found.alpha) - exponent) < 3 * float(found.standard_error)
    assert float(found.distance) < 1 / math.sqrt(float(found.tail))
    assert float(found.start) >= 1


def test_the_tail_begins_where_the_power_law_does():
    rng = np.random.default_rng(0)
    bulk, tail = rng.uniform(0.0, 1.0, 600), scipy.stats.pareto(1.5).rvs(400, random_state=rng)
    found = probes.spectrum_exponent(np.diag(np.sqrt(np.concatenate([bulk, tail]))))
    assert abs(float(found.alpha) - 2.5) < 3 * float(found.standard_error)
    assert 0.8 < float(found.start) < 2


def test_the_fit_is_the_best_of_all_starts():
    eigenvalues = np.linalg.svd(np.random.default_rng(0).standard_normal((30, 40)), compute_uv=False) ** 2
    fits = []
    for start in eigenvalues[9:]:
        tail = eigenvalues[eigenvalues >= start]
        shape, _, _ = scipy.stats.pareto.fit(tail, floc=0, fscale=start)
        distance = scipy.stats.kstest(tail, scipy.stats.pareto(shape, scale=start).cdf).statistic
        fits.append((distance, 1 + shape, start, len(tail)))
    distance, alpha, start, tail = min(fits)
    found = probes.spectrum_exponent(np.random.default_rng(0).standard_normal((30, 40)))
    assert float(found.distance) == pytest.approx(distance, rel=1e-6)
    assert float(found.alpha) == pytest.approx(alpha, rel=1e-6)
    assert float(found.start) == pytest.approx(start, rel=1e-10)
    assert int(found.tail) == tail


def test_noise_reads_like_a_trained_layer_as_the_docstring_warns():
    found = [
        probes.spectrum_exponent(np.random.default_rng(seed).standard_normal((64, 64))) for seed in range(9)
    ]
    assert 2 < np.median([float(fit.alpha) for fit in found]) < 6
    assert all(float(fit.distance) < 1 / math.sqrt(float(fit.tail)) for fit in found)


def test_the_exponent_is_the_most_likely_one():
    found = probes.spectrum_exponent(pareto_matrix(3.0, 50, seed=1))
    eigenvalues = scipy.stats.pareto(2.0).rvs(50, random_state=1)
    tail = eigenvalues[eigenvalues >= float(found.start) * (1 - 1e-12)]

    def surprise(alpha: float) -> float:
        return -float(scipy.stats.pareto(alpha - 1, scale=tail.min()).logpdf(tail).sum())

    best = scipy.optimize.minimize_scalar(surprise, bounds=(1.01, 20), options={"xatol": 1e-10})
    assert float(found.alpha) == pytest.approx(best.x, rel=1e-6)
    assert float(found.standard_error) == pytest.approx((best.x - 1) / math.sqrt(len(tail)), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-180, 1e-3, 1e150])
def test_the_scale_of_the_weight_does_not_matter(scale, in_library):
    weight = pareto_matrix(2.5, 60, seed=0)
    plain, scaled = (probes.spectrum_exponent(in_library(factor * weight)) for factor in (1.0, scale))
    for number in ("alpha", "distance", "tail"):
        assert float(getattr(scaled, number)) == pytest.approx(float(getattr(plain, number)), rel=1e-9)


def test_a_convolution_is_read_as_its_matrix():
    weight = np.random.default_rng(0).standard_normal((20, 3, 3, 3))
    assert probes.spectrum_exponent(weight) == probes.spectrum_exponent(weight.reshape(20, 27))


@pytest.mark.parametrize(
    "weight",
    [np.zeros((12, 12)), np.eye(12), np.full((12, 12), math.nan), np.diag([1.0] * 9 + [0.0] * 3)],
    ids=["zero", "all equal", "NaN", "too few that are not zero"],
)
def test_without_a_tail_there_is_no_exponent(weight, in_library):
    found = probes.spectrum_exponent(in_library(weight))
    assert [math.isnan(float(number)) for number in found[:4]] == [True] * 4
    assert int(found.tail) == 0


@pytest.mark.parametrize("shape", [(9, 100), (100,), (64, 3, 1, 1)], ids=str)
def test_a_small_layer_is_refused(shape):
    with pytest.raises(ValueError, match="at least 10 on either side, got"):
        probes.spectrum_exponent(np.ones(shape))


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    weight = np.random.default_rng(0).standard_normal((40, 30))
    tensor = torch.asarray(weight).requires_grad_()
    pairs = [(probes.spectral_norm(tensor), probes.spectral_norm(weight))]
    pairs += zip(probes.spectrum_exponent(tensor), probes.spectrum_exponent(weight), strict=True)
    for measured, expected in pairs:
        assert isinstance(measured, torch.Tensor)
        assert not measured.requires_grad
        assert float(measured) == pytest.approx(float(expected), rel=1e-12)
