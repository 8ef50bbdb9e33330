import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
from hypothesis import given, settings

import probes

RANKS = [
    probes.effective_rank,
    probes.stable_rank,
    probes.activation_effective_rank,
    probes.activation_stable_rank,
]
ALIGNMENTS = [probes.linear_cka, probes.debiased_linear_cka]
SEEDS = st.integers(0, 2**32 - 1)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def with_spectrum(values: list[float], shape: tuple[int, int] = (9, 6)) -> np.ndarray:
    left = scipy.stats.ortho_group.rvs(shape[0], random_state=0)
    right = scipy.stats.ortho_group.rvs(shape[1], random_state=1)
    return left @ scipy.linalg.diagsvd(np.array(values), *shape) @ right


# -------------------------------------------------------------------------------------------- ranks


@pytest.mark.parametrize(
    ("values", "effective", "stable"),
    [
        pytest.param([1, 1, 1, 1, 1, 1], 6.0, 6.0, id="flat"),
        pytest.param([5, 0, 0, 0, 0, 0], 1.0, 1.0, id="rank one"),
        pytest.param([3, 3, 3, 0, 0, 0], 3.0, 3.0, id="rank three"),
        pytest.param([2, 1, 1, 0, 0, 0], math.sqrt(8), 1.5, id="entropy 1.5 ln 2"),
        pytest.param([4, 2, 1, 1, 0, 0], 2**1.75, 1.375, id="dyadic"),
        pytest.param([1e200, 5e199, 5e199, 0, 0, 0], math.sqrt(8), 1.5, id="squares beyond float64"),
    ],
)
def test_ranks_of_known_spectra(values, effective, stable, in_library):
    matrix = in_library(with_spectrum(values))
    assert float(probes.effective_rank(matrix)) == pytest.approx(effective, rel=1e-10)
    assert float(probes.stable_rank(matrix)) == pytest.approx(stable, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 8))
def test_ranks_are_those_of_the_singular_values(seed, rows, columns):
    matrix = normal(rows, columns, seed=seed)
    values = scipy.linalg.svdvals(matrix)
    effective = float(probes.effective_rank(matrix))
    assert effective == pytest.approx(math.exp(scipy.stats.entropy(values)), rel=1e-10)
    stable = float(probes.stable_rank(matrix))
    assert stable == pytest.approx((np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2, rel=1e-10)
    assert 1 - 1e-12 <= stable <= effective**2 * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_ranks_do_not_change_with_scale_or_rotation(seed, scale):
    matrix = normal(7, 4, seed=seed)
    turned = scale * matrix @ scipy.stats.ortho_group.rvs(4, random_state=1)
    for rank in (probes.effective_rank, probes.stable_rank):
        assert float(rank(turned)) == pytest.approx(float(rank(matrix)), rel=1e-9)


@pytest.mark.parametrize("rank", ["effective_rank", "stable_rank"])
def test_an_activations_rank_is_that_of_its_variation_over_examples_and_positions(rank, in_library):
    activation = normal(5, 3, 2, 4) + 10
    matrix = np.array([activation[i, :, j, k] for i in range(5) for j in range(2) for k in range(4)])
    expected = getattr(probes, rank)(matrix - matrix.mean(0))
    measured = getattr(probes, f"activation_{rank}")(in_library(activation))
    assert float(measured) == pytest.approx(float(expected), rel=1e-12)


def test_collapsed_classes_leave_one_direction_less_than_classes():
    features = np.repeat(np.eye(4), 25, axis=0) + 3.0
    assert float(probes.activation_effective_rank(features)) == pytest.approx(3.0, rel=1e-9)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf], ids=str)
@pytest.mark.parametrize("rank", RANKS)
def test_a_matrix_without_directions_has_no_rank(rank, value, in_library):
    matrix = np.zeros((4, 3))
    matrix[1, 1] = value
    assert math.isnan(rank(in_library(matrix)))


@pytest.mark.parametrize("rank", RANKS[2:])
def test_examples_that_are_all_the_same_have_no_directions(rank, in_library):
    assert math.isnan(rank(in_library(np.full((6, 3), 0.1))))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("rank", RANKS[:2])
def test_what_is_no_matrix_has_no_rank(rank, shape):
    with pytest.raises(ValueError, match=r"needs a matrix that is not empty, got shape .* reshape a weight"):
        rank(np.zeros(shape))


@pytest.mark.parametrize("measure", [*RANKS[2:], probes.two_nn_intrinsic_dimension])
def test_an_activation_that_holds_nothing_is_refused(measure):
    for shape in [(0, 3), (3, 0), (2, 3, 0)]:
        with pytest.raises(ValueError, match="needs at least one example and one unit, got shape .* leave"):
            measure(np.zeros(shape))
    for shape in [(), (3,)]:
        with pytest.raises(
            ValueError, match=r"needs an activation of shape \(batch, units, ...\), got .* put"
        ):
            measure(np.zeros(shape))


# -------------------------------------------------------------------------------------------- CKA


def gram_alignment(one: np.ndarray, two: np.ndarray) -> float:
    """The definition: of kernels, with a centring matrix."""
    centring = np.eye(len(one)) - 1 / len(one)
    kernels = [centring @ layer @ layer.T @ centring for layer in (one, two)]
    shared = np.trace(kernels[0] @ kernels[1])
    return shared / math.prod(np.linalg.norm(kernel) for kernel in kernels)


def unbiased_dependence(one: np.ndarray, two: np.ndarray) -> float:
    """Song's estimator, as it is printed."""
    n = len(one)
    a, b = (layer @ layer.T * (1 - np.eye(n)) for layer in (one, two))
    whole = np.trace(a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a @ b).sum()
    return whole / (n * (n - 3))


@pytest.mark.parametrize(
    ("units", "others"), [(3, 4), (3, 40), (40, 50)], ids=["narrow", "one wide", "both wide"]
)
def test_linear_cka_is_the_alignment_of_centred_kernels(units, others, in_library):
    one, two = normal(10, units) + 5, normal(10, others, seed=1) - 3
    measured = float(probes.linear_cka(in_library(one), in_library(two)))
    assert measured == pytest.approx(gram_alignment(one, two), rel=1e-11)


@pytest.mark.parametrize("units", [3, 40])
def test_debiased_cka_is_made_of_songs_unbiased_estimates(units, in_library):
    one = normal(10, units) + 5
    two = one[:, :2] ** 2 + normal(10, 2, seed=1)
    expected = unbiased_dependence(one, two) / math.sqrt(
        unbiased_dependence(one, one) * unbiased_dependence(two, two)
    )
    measured = float(probes.debiased_linear_cka(in_library(one), in_library(two)))
    assert measured == pytest.approx(expected, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-10, 10))
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_alignment_does_not_change_with_rotation_scale_shift_or_the_order_of_examples(
    alignment, seed, scale, shift
):
    one, two = normal(12, 5, seed=seed), normal(12, 4, seed=seed + 1)
    value = float(alignment(one, two))
    turned = scale * one @ scipy.stats.ortho_group.rvs(5, random_state=seed) + shift
    order = np.random.default_rng(seed).permutation(12)
    assert float(alignment(turned, two)) == pytest.approx(value, abs=1e-8)
    assert float(alignment(one[order], two[order])) == pytest.approx(value, abs=1e-9)
    assert float(alignment(two, one)) == pytest.approx(value, abs=1e-9)
    assert float(alignment(one, turned)) == pytest.approx(1.0, abs=1e-8)


def test_alignment_changes_with_a_map_that_is_no_rotation():
    layer = normal(50, 5)
    assert float(probes.linear_cka(layer, layer * np.array([1, 1, 1, 1, 30.0]))) < 0.6


def test_layers_of_uncorrelated_units_do_not_align():
    signs = scipy.linalg.hadamard(8).astype(float)
    assert float(probes.linear_cka(signs[:, 1:4], signs[:, 4:])) == pytest.approx(0.0, abs=1e-15)


def test_unrelated_layers_align_by_chance_and_without_bias_they_do_not():
    pairs = [(normal(20, 200, seed=2 * i), normal(20, 200, seed=2 * i + 1)) for i in range(200)]
    biased = np.array([probes.linear_cka(*pair) for pair in pairs])
    debiased = np.array([probes.debiased_linear_cka(*pair) for pair in pairs])
    assert biased.min() > 0.85
    assert abs(debiased.mean()) < 4 * debiased.std() / math.sqrt(len(pairs)) < 0.05


def test_all_entries_of_an_example_are_its_features():
    images = normal(9, 3, 4, 2)
    for alignment in ALIGNMENTS:
        flat = alignment(images.reshape(9, -1), images[:, 0] ** 2)
        assert float(alignment(images, images[:, 0] ** 2)) == float(flat)


@pytest.mark.parametrize("scale", [1e-150, 1e150], ids=str)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_alignment_is_right_where_fourth_powers_leave_float64(alignment, scale):
    one, two = normal(8, 3), normal(8, 3, seed=1)
    assert float(alignment(one * scale, two)) == pytest.approx(float(alignment(one, two)), rel=1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf, None], ids=["NaN", "infinity", "constant"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_layer_that_tells_no_examples_apart_has_no_alignment(alignment, value, in_library):
    layer, broken = normal(6, 3), np.full((6, 3), 0.1)
    if value is not None:
        broken = normal(6, 3)
        broken[2, 1] = value
    assert math.isnan(alignment(in_library(layer), in_library(broken)))
    assert math.isnan(alignment(in_library(broken), in_library(layer)))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_layers_of_different_batches_are_refused(alignment):
    with pytest.raises(ValueError, match="needs two layers on the same examples, got shapes .* record both"):
        alignment(np.zeros((6, 3)), np.zeros((7, 3)))


@pytest.mark.parametrize(("alignment", "least"), [(probes.linear_cka, 2), (probes.debiased_linear_cka, 4)])
def test_too_few_examples_to_align_are_refused(alignment, least):
    few = np.zeros((least - 1, 3))
    with pytest.raises(
        ValueError, match=f"needs at least {least} examples, got shape .* choose a larger batch"
    ):
        alignment(few, few)


# ------------------------------------------------------------------------------ intrinsic dimension


def brute_force_dimension(points: np.ndarray) -> float:
    distances = np.sort(scipy.spatial.distance.cdist(points, points), axis=1)
    ratios = np.sort(distances[:, 2] / distances[:, 1])
    n = len(points)
    kept = int(0.9 * n)
    heights = np.array([-math.log(1 - (i + 1) / n) for i in range(kept)])
    slope, *_ = np.linalg.lstsq(np.log(ratios[:kept, None]), heights, rcond=None)
    return float(slope[0])


def test_the_dimension_is_the_slope_of_the_ratios_distribution(in_library):
    points = normal(60, 3)
    measured = float(probes.two_nn_intrinsic_dimension(in_library(points)))
    assert measured == pytest.approx(brute_force_dimension(points), rel=1e-10)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_a_flat_manifold_in_many_units_has_its_own_dimension(dimension):
    points = np.random.default_rng(0).uniform(size=(2000, dimension)) @ normal(dimension, 30)
    measured = float(probes.two_nn_intrinsic_dimension(points.reshape(2000, 5, 6)))
    assert measured == pytest.approx(dimension, rel=0.1)


def test_a_curved_manifold_has_its_own_dimension():
    points = normal(2000, 3)
    sphere = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert float(probes.two_nn_intrinsic_dimension(sphere)) == pytest.approx(2, rel=0.1)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_the_dimension_does_not_change_with_scale_shift_or_copies(seed, scale, shift):
    points = normal(40, 3, seed=seed)
    value = float(probes.two_nn_intrinsic_dimension(points))
    moved = np.concatenate([points, points[:7]]) * scale + shift
    assert float(probes.two_nn_intrinsic_dimension(moved)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.zeros((9, 4)), id="all the same"),
        pytest.param(np.repeat(np.eye(2), 5, axis=0), id="two that differ"),
        pytest.param(np.eye(12), id="all equally far"),
        pytest.param(np.array([[1.0, 2.0], [math.nan, 1.0], [3.0, 5.0]]), id="NaN"),
        pytest.param(np.array([[1.0, 2.0], [math.inf, 1.0], [3.0, 5.0]]), id="infinity"),
    ],
)
def test_points_without_a_dimension(points, in_library):
    assert math.isnan(probes.two_nn_intrinsic_dimension(in_library(points)))


def test_two_points_have_no_second_neighbour():
    with pytest.raises(ValueError, match="two_nn_intrinsic_dimension needs at least 3 examples, got shape"):
        probes.two_nn_intrinsic_dimension(np.zeros((2, 3)))


# ---------------------------------------------------------------------------------------- libraries

OF_ONE = [*RANKS, probes.two_nn_intrinsic_dimension]


@pytest.mark.parametrize("measure", OF_ONE)
def test_numpy_and_torch_measure_the_same(measure):
    torch = pytest.importorskip("torch")
    activation = normal(7, 20).T
    measured = measure(torch.asarray(activation.copy()).requires_grad_())
    assert isinstance(measured, torch.Tensor)
    assert measured.dtype == torch.float64
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(activation), rtol=1e-12)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_numpy_and_torch_align_the_same(alignment):
    torch = pytest.importorskip("torch")
    one, two = normal(20, 7), normal(20, 9, seed=1)
    measured = alignment(torch.asarray(one).requires_grad_(), torch.asarray(two))
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), alignment(one, two), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int64"])
@pytest.mark.parametrize(
    "measure", [*OF_ONE, lambda activation: probes.linear_cka(activation, activation[:, :2])]
)
def test_narrow_and_integer_types_are_measured_in_float64(measure, dtype):
    torch = pytest.importorskip("torch")
    activation = torch.asarray(np.round(normal(20, 4) * 8)).to(getattr(torch, dtype))
    assert float(measure(activation)) == pytest.approx(float(measure(activation.double())), rel=1e-12)
