import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

import probes

SEEDS = st.integers(0, 2**32 - 1)
OF_FEATURES = [
    probes.within_class_variability,
    probes.class_mean_norm_spread,
    probes.class_mean_cosines,
    probes.class_mean_cosine_spread,
    probes.class_mean_simplex_deviation,
]
OF_CLASSIFIERS = [probes.self_duality_deviation, probes.nearest_centre_agreement]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def simplex(classes: int, features: int) -> np.ndarray:
    """Corners of a simplex about the origin, turned at random in a larger space."""
    corners = np.zeros((classes, features))
    corners[:, :classes] = np.eye(classes) - 1 / classes
    return corners @ scipy.stats.ortho_group.rvs(features, random_state=0)


def batch(seed: int = 0, counts: tuple[int, ...] = (5, 7, 4, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Examples of unequal classes about random means, in no order."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    means = normal(len(counts), 6, seed=seed) * 2
    return means[labels] + normal(len(labels), 6, seed=seed + 1) + 3.0, labels


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([features[labels == name].mean(0) for name in np.unique(labels)])


# ------------------------------------------------------------------------------------ neural collapse


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_collapsed_network_shows_all_four_marks(classes, in_library):
    corners = simplex(classes, 12)
    labels = np.arange(5 * classes) % classes
    features = in_library(7 * corners[labels] + normal(12))
    told, weight = in_library(labels), in_library(3 * corners)
    assert float(probes.within_class_variability(features, told)) == pytest.approx(0, abs=1e-25)
    assert float(probes.class_mean_norm_spread(features, told)) == pytest.approx(0, abs=1e-12)
    cosines = np.asarray(probes.class_mean_cosines(features, told))
    np.testing.assert_allclose(cosines, [-1 / (classes - 1)] * math.comb(classes, 2), rtol=1e-12)
    assert float(probes.class_mean_cosine_spread(features, told)) == pytest.approx(0, abs=1e-12)
    assert float(probes.class_mean_simplex_deviation(features, told)) == pytest.approx(0, abs=1e-12)
    assert float(probes.self_duality_deviation(features, told, weight)) == pytest.approx(0, abs=1e-12)
    centred = features - in_library(7 * corners[labels] + normal(12)).mean(0)
    assert float(probes.nearest_centre_agreement(centred, told, weight)) == 1.0


# ---------------------------------------------------------------------------------------------- NC1


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_variability_is_that_of_the_dense_covariances(seed):
    features, labels = batch(seed)
    means = class_means(features, labels)
    within = np.mean([np.cov(features[labels == name].T, bias=True) for name in range(4)], axis=0)
    between = np.cov(means.T, bias=True)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 4
    assert float(probes.within_class_variability(features, labels)) == pytest.approx(expected, rel=1e-7)


def test_variability_grows_with_the_square_of_the_scatter(in_library):
    labels = np.arange(40) % 4
    scatter = normal(40, 6)
    scatter -= class_means(scatter, labels)[labels]
    means = simplex(4, 6)[labels]
    once, twice = (
        float(probes.within_class_variability(in_library(means + size * scatter), in_library(labels)))
        for size in (0.1, 0.2)
    )
    assert twice == pytest.approx(4 * once, rel=1e-9)


def test_classes_with_the_same_mean_add_no_direction():
    labels = np.arange(40) % 4
    scatter = normal(40, 6)
    scatter -= class_means(scatter, labels)[labels]
    means = np.array([[1.0], [-1.0], [0.0], [0.0]]) * np.eye(1, 6) + 100.0
    # Along the one direction of the means their variance is 1/2.
    expected = np.mean(scatter[:, 0] ** 2) / 0.5 / 4
    measured = float(probes.within_class_variability(means[labels] + scatter, labels))
    assert measured == pytest.approx(expected, rel=1e-9)


def test_means_that_are_all_the_same_have_no_variability_against_them(in_library):
    features = np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0], [-1.0, -2.0]])
    labels = in_library(np.array([0, 0, 1, 1]))
    for measure in OF_FEATURES[:2]:
        assert math.isnan(measure(in_library(features), labels))
    assert np.isnan(np.asarray(probes.class_mean_cosines(in_library(features), labels))).all()


@pytest.mark.parametrize("measure", OF_FEATURES)
def test_a_layer_that_tells_no_examples_apart_has_no_geometry(measure, in_library):
    features, labels = in_library(np.full((6, 3), 0.1)), in_library(np.arange(6) % 2)
    assert np.isnan(np.asarray(measure(features, labels))).all()


# ---------------------------------------------------------------------------------------------- NC2


def test_norms_and_angles_are_those_of_the_centred_class_means(in_library):
    features, labels = batch()
    offsets = class_means(features, labels)
    offsets -= offsets.mean(0)
    lengths = np.linalg.norm(offsets, axis=1)
    cosines = (offsets @ offsets.T / np.outer(lengths, lengths))[np.triu_indices(4, k=1)]
    given_features, told = in_library(features), in_library(labels)
    np.testing.assert_allclose(
        np.asarray(probes.class_mean_cosines(given_features, told)), cosines, rtol=1e-11
    )
    spread = float(probes.class_mean_norm_spread(given_features, told))
    assert spread == pytest.approx(lengths.std() / lengths.mean(), rel=1e-11)
    assert float(probes.class_mean_cosine_spread(given_features, told)) == pytest.approx(cosines.std())
    deviation = float(probes.class_mean_simplex_deviation(given_features, told))
    assert deviation == pytest.approx(np.abs(cosines + 1 / 3).mean())


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1e-2, 1e2))
@pytest.mark.parametrize("measure", OF_FEATURES)
def test_geometry_does_not_change_with_rotation_scale_shift_or_the_order_of_examples(measure, seed, scale):
    features, labels = batch(seed)
    moved = scale * features @ scipy.stats.ortho_group.rvs(6, random_state=seed) + 5.0
    np.testing.assert_allclose(
        measure(moved[::-1], labels[::-1]), measure(features, labels), rtol=1e-7, atol=1e-9
    )


def test_names_of_classes_may_be_any_integers(in_library):
    features, labels = batch()
    renamed = in_library(np.array([-4, 0, 17, 900])[labels])
    for measure in OF_FEATURES:
        expected = measure(features, labels)
        np.testing.assert_allclose(np.asarray(measure(in_library(features), renamed)), expected, rtol=1e-12)


# ------------------------------------------------------------------------------------- NC3 and NC4


def test_self_duality_of_a_known_classifier(in_library):
    features, labels = batch()
    weight = normal(4, 6, seed=9)
    offsets = class_means(features, labels)
    offsets -= offsets.mean(0)
    cosine = np.sum(weight * offsets) / np.linalg.norm(weight) / np.linalg.norm(offsets)
    measured = float(
        probes.self_duality_deviation(in_library(features), in_library(labels), in_library(weight))
    )
    assert measured == pytest.approx(2 - 2 * cosine, rel=1e-11)
    opposite = probes.self_duality_deviation(features, labels, -offsets)
    assert float(opposite) == pytest.approx(4.0, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_agreement_is_that_of_the_decisions_one_by_one(seed):
    features, labels = batch(seed)
    weight, bias = normal(4, 6, seed=seed + 2), normal(4, seed=seed + 3)
    means = class_means(features, labels)
    decided = [int(np.argmax(weight @ example + bias)) for example in features]
    nearest = [int(np.argmin(np.linalg.norm(means - example, axis=1))) for example in features]
    measured = float(probes.nearest_centre_agreement(features, labels, weight, bias))
    assert measured == pytest.approx(np.mean(np.equal(decided, nearest)), rel=1e-12)


def test_the_nearest_centre_classifier_agrees_with_itself(in_library):
    features, labels = batch()
    means = class_means(features, labels)
    bias = in_library(-np.sum(means**2, axis=1) / 2)
    agreement = probes.nearest_centre_agreement(
        in_library(features), in_library(labels), in_library(means), bias
    )
    assert float(agreement) == 1.0


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("measure", OF_FEATURES)
def test_what_is_not_finite_spoils_the_geometry(measure, value, in_library):
    features, labels = batch()
    features[labels == 2, 1] = value
    assert np.isnan(np.asarray(measure(in_library(features), in_library(labels)))).any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("measure", OF_CLASSIFIERS)
def test_what_is_not_finite_spoils_the_comparison(measure, value, in_library):
    features, labels = batch()
    weight = normal(4, 6, seed=9)
    told = in_library(labels)
    broken = np.where(np.eye(4, 6) > 0, value, weight)
    assert math.isnan(measure(in_library(features), told, in_library(broken)))
    features[3, 3] = value
    assert math.isnan(measure(in_library(features), told, in_library(weight)))


@pytest.mark.parametrize(
    "labels",
    [np.zeros(3, dtype=int), np.zeros((4, 1), dtype=int), np.array([0.0, 1.0, 0.0, 1.0])],
    ids=["too few", "2-D", "float"],
)
@pytest.mark.parametrize("measure", OF_FEATURES)
def test_labels_that_do_not_fit_are_refused(measure, labels):
    with pytest.raises(ValueError, match="needs one integer label an example, got .* for 4 examples; take"):
        measure(normal(4, 3), labels)


@pytest.mark.parametrize("measure", OF_FEATURES)
def test_a_single_class_is_refused(measure):
    with pytest.raises(ValueError, match="needs examples of two classes at least, got 1; choose a probe"):
        measure(normal(4, 3), np.full(4, 7))


@pytest.mark.parametrize("measure", OF_FEATURES)
def test_an_empty_batch_is_refused(measure):
    with pytest.raises(ValueError, match="needs at least one example and one unit, got shape .* leave empty"):
        measure(np.zeros((0, 3)), np.zeros(0, dtype=int))


@pytest.mark.parametrize(
    ("labels", "shape"),
    [([0, 1, 0, 1], (3, 5)), ([0, 2, 0, 2], (2, 5)), ([0, 1, 0, 1], (2, 4)), ([-1, 0, -1, 0], (2, 5))],
    ids=["class missing", "not from 0 on", "other features", "negative"],
)
@pytest.mark.parametrize("measure", OF_CLASSIFIERS)
def test_a_classifier_that_does_not_fit_is_refused(measure, labels, shape):
    with pytest.raises(ValueError, match="examples of every class, got shape .* and 5 features; choose"):
        measure(normal(4, 5), np.array(labels), np.zeros(shape))


# ---------------------------------------------------------------------------------------- libraries


@pytest.mark.parametrize("measure", OF_FEATURES)
def test_numpy_and_torch_measure_the_same(measure):
    torch = pytest.importorskip("torch")
    features, labels = batch()
    measured = measure(torch.asarray(features).requires_grad_(), torch.asarray(labels))
    assert isinstance(measured, torch.Tensor)
    assert measured.dtype == torch.float64
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(features, labels), rtol=1e-12)


@pytest.mark.parametrize("measure", OF_CLASSIFIERS)
def test_numpy_and_torch_compare_the_same(measure):
    torch = pytest.importorskip("torch")
    features, labels = batch()
    weight = normal(4, 6, seed=9)
    measured = measure(torch.asarray(features), torch.asarray(labels), torch.asarray(weight).requires_grad_())
    assert isinstance(measured, torch.Tensor)
    assert not measured.requires_grad
    np.testing.assert_allclose(measured.numpy(), measure(features, labels, weight), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
@pytest.mark.parametrize("measure", OF_FEATURES)
def test_narrow_and_integer_types_are_measured_in_float64(measure, dtype):
    torch = pytest.importorskip("torch")
    features, labels = batch()
    narrow, told = torch.asarray(features).to(getattr(torch, dtype)), torch.asarray(labels)
    np.testing.assert_allclose(
        measure(narrow, told.to(torch.uint8)), measure(narrow.double(), told), rtol=1e-12
    )
