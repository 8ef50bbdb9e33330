import math

import numpy as np
import pytest
from scipy.stats import norm

from probes import spectral_density, trace
from tests.probes.curvature.matrices import Counted, wishart


def smoothed(eigenvalues, found):
    """The density of known eigenvalues, each drawn as wide as the estimate draws its nodes."""
    return norm.pdf(found.grid[:, None], eigenvalues, found.width).mean(axis=1)


def clusters(*counts_and_places):
    """A dense matrix with eigenvalues at few places, in random directions."""
    spectrum = np.concatenate([np.full(count, place) for count, place in counts_and_places])
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(spectrum), len(spectrum))))[0]
    return basis * spectrum @ basis.T


def mass(found, lowest, highest):
    inside = (found.grid >= lowest) & (found.grid <= highest)
    return np.trapezoid(found.density[inside], found.grid[inside])


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(wishart(40), id="Wishart"),
        pytest.param(clusters((10, -2.0), (30, 7.0)), id="two clusters"),
        pytest.param(np.eye(9), id="identity"),
        pytest.param(-1e-9 * np.eye(9), id="small negative"),
        pytest.param(np.zeros((9, 9)), id="zero"),
        pytest.param(np.full((1, 1), 4.0), id="one weight"),
    ],
)
def test_the_density_integrates_to_one(matrix):
    found = spectral_density(Counted(matrix), len(matrix), rng=0)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0, abs=1e-7)
    assert (found.density >= 0).all()
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_two_clusters_are_found_where_they_are_with_their_masses():
    matrix = clusters((25, 1.0), (75, 5.0))
    found = spectral_density(Counted(matrix), 100, starts=30, rng=0)
    assert found.products == 60
    np.testing.assert_allclose(np.unique(found.nodes.round(9)), [1.0, 5.0])
    low, high = found.grid < 3, found.grid >= 3
    assert found.grid[low][found.density[low].argmax()] == pytest.approx(1.0, abs=found.width)
    assert found.grid[high][found.density[high].argmax()] == pytest.approx(5.0, abs=found.width)
    # A random start's share of one cluster has variance below 2 * 0.25 * 0.75 / 100.
    assert mass(found, -np.inf, 3) == pytest.approx(0.25, abs=4 * math.sqrt(0.375 / 100 / 30))


def test_clusters_on_the_diagonal_have_their_masses_exactly():
    diagonal = np.array([1.0] * 25 + [5.0] * 75)
    found = spectral_density(lambda v: diagonal * v, 100, rng=0)
    assert found.weights[found.nodes < 3].sum() == pytest.approx(0.25, abs=1e-12)
    np.testing.assert_allclose(found.density, smoothed(diagonal, found), atol=1e-9)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=1e-9)


def test_the_density_of_a_wishart_matrix_is_that_of_its_eigenvalues():
    matrix = wishart(100)
    found = spectral_density(Counted(matrix), 100, steps=40, starts=30, rng=0)
    truth = smoothed(np.linalg.eigvalsh(matrix), found)
    assert (np.abs(found.density - truth) <= 4.5 * found.standard_error + 1e-3 * truth.max()).all()
    assert np.trapezoid(np.abs(found.density - truth), found.grid) < 0.1


def test_outliers_stand_outside_the_bulk():
    """The spiked matrix of Papyan, 2019, figure 15a, smaller."""
    noise = np.random.default_rng(0).standard_normal((400, 400))
    matrix = np.diag([5.0, 4.0, 3.0] + [0.0] * 397) + noise @ noise.T / 400
    found = spectral_density(Counted(matrix), 400, steps=48, starts=4, rng=0)
    outliers = np.linalg.eigvalsh(matrix)[-3:]
    assert outliers.min() > 4.2
    for outlier in outliers:
        near = np.abs(found.nodes - outlier) < 1e-6
        assert near.sum() == 4
        assert found.weights[near].sum() == pytest.approx(1 / 400, rel=3)
    assert found.weights[found.nodes > 4.2].sum() == pytest.approx(3 / 400, rel=1)


def test_the_standard_error_covers_the_truth_as_often_as_it_should():
    # Three nodes integrate so wide a Gaussian to far less than the standard error.
    matrix, truth, covered = wishart(12), np.linalg.eigvalsh(wishart(12)), []
    for seed in range(200):
        found = spectral_density(Counted(matrix), 12, steps=3, starts=14, width=1.2, points=41, rng=seed)
        density = smoothed(truth, found)
        error = np.abs(found.density - density)[density > 0.01]
        covered.append((error <= 1.96 * found.standard_error[density > 0.01]).mean())
    assert 0.90 <= np.mean(covered) <= 0.99


def test_the_nodes_give_the_traces_of_powers():
    """Of every power below twice the number of steps, as the same random signs see them."""
    matrix = wishart(30)
    found = spectral_density(Counted(matrix), 30, steps=3, starts=8, rng=0)
    power = np.eye(30)
    for exponent in range(1, 6):
        power = power @ matrix
        expected = trace(Counted(power), 30, samples=8, rng=0).value
        moment = 30 * (found.weights * found.nodes**exponent).sum()
        assert moment == pytest.approx(float(expected), rel=1e-9)


def test_the_density_scales_with_the_matrix():
    found = spectral_density(Counted(wishart(20)), 20, rng=0)
    tenfold = spectral_density(Counted(10 * wishart(20)), 20, rng=0)
    assert tenfold.width == pytest.approx(10 * found.width, rel=1e-9)
    np.testing.assert_allclose(tenfold.grid, 10 * found.grid, atol=1e-9)
    np.testing.assert_allclose(10 * tenfold.density, found.density, atol=1e-9)


def test_the_width_is_the_distance_between_nodes_unless_it_is_given():
    found = spectral_density(Counted(wishart(40)), 40, steps=16, rng=0)
    assert found.width == pytest.approx(np.ptp(found.nodes) / 16)
    wide = spectral_density(Counted(wishart(40)), 40, steps=16, width=0.5, rng=0)
    assert wide.width == 0.5
    assert wide.grid[0] == pytest.approx(found.nodes.min() - 3.0)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(("dim", "steps", "starts"), [(0, 5, 5), (5, 0, 5), (5, 5, 1)])
def test_sizes_out_of_range_are_refused(dim, steps, starts):
    came = f"got dim={dim}, steps={steps} and starts={starts}; one start alone"
    with pytest.raises(ValueError, match=f"needs dim >= 1, steps >= 1 and starts >= 2, {came}"):
        spectral_density(Counted(np.eye(dim)), dim, steps=steps, starts=starts)


def test_points_too_few_for_the_width_are_refused():
    diagonal = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match=r"got points=50 and width=0.011 .* to 1; take 104 points or more"):
        spectral_density(lambda v: diagonal * v, 2, width=0.011, points=50, rng=0)
    found = spectral_density(lambda v: diagonal * v, 2, width=0.011, points=104, rng=0)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_a_width_that_no_gaussian_has_is_refused(width):
    with pytest.raises(ValueError, match=f"needs a width above 0, got width={width}; leave it out"):
        spectral_density(Counted(np.eye(3)), 3, width=width, rng=0)
