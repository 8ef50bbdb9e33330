import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.feature_selection
import sklearn.metrics
from hypothesis import given, settings
from scipy.spatial.distance import cdist
from scipy.special import digamma

import probes

SEEDS = st.integers(0, 2**32 - 1)
WITH_LABELS: list[Any] = [probes.binned_mutual_information, probes.ross_mutual_information]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# ------------------------------------------------------------------------------------------- binned


@pytest.mark.parametrize(
    ("activation", "labels", "expected"),
    [
        pytest.param([-1, -1, 1, 1], [0, 0, 1, 1], math.log(2), id="tells the class"),
        pytest.param([-1, 1, -1, 1], [0, 0, 1, 1], 0.0, id="tells nothing"),
        pytest.param([5, 5, 5, 5], [0, 0, 1, 1], 0.0, id="constant"),
        pytest.param([-1, -1, 1, 1], [3, 3, 3, 3], 0.0, id="one class"),
        pytest.param([-1, 0, 1, 1], [0, 1, 2, 3], 1.5 * math.log(2), id="entropy of the symbols"),
    ],
)
def test_binned_information_of_known_layers(activation, labels, expected, in_library):
    layer = in_library(np.array(activation, dtype=np.float64)[:, None])
    measured = probes.binned_mutual_information(layer, in_library(np.array(labels)), bins=4)
    assert float(measured) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 12))
def test_binned_information_of_one_unit_is_scikit_learns(seed, bins):
    layer, labels = normal(50, 1, seed=seed), np.random.default_rng(seed).integers(0, 3, 50)
    inner = np.linspace(layer.min(), layer.max(), bins + 1)[1:-1]
    expected = sklearn.metrics.mutual_info_score(labels, np.digitize(layer[:, 0], inner))
    measured = float(probes.binned_mutual_information(layer, labels, bins=bins))
    assert measured == pytest.approx(expected, abs=1e-12)


def test_units_tell_together_what_none_tells_alone():
    signs = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    parity = np.array([0, 1, 1, 0])
    assert float(probes.binned_mutual_information(signs, parity, bins=2)) == pytest.approx(math.log(2))
    assert float(probes.binned_mutual_information(signs[:, :1], parity, bins=2)) == 0.0


def test_entries_beyond_the_limits_count_for_the_nearest_bin():
    layer = np.array([[-7.0], [-0.9], [0.9], [7.0]])
    labels = np.array([0, 0, 1, 1])
    measured = probes.binned_mutual_information(layer, labels, bins=2, limits=(-1.0, 1.0))
    assert float(measured) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("bins", "limits"), [(0, None), (5, (1.0, 1.0)), (5, (0.0, math.inf)), (5, (math.nan, 1.0))], ids=str
)
def test_bins_that_hold_nothing_are_refused(bins, limits):
    with pytest.raises(ValueError, match="needs at least one bin and finite limits low < high, got bins="):
        probes.binned_mutual_information(normal(4, 1), np.arange(4), bins=bins, limits=limits)


# ---------------------------------------------------------------------------------- nearest neighbours


def brute_force_ksg(one: np.ndarray, two: np.ndarray, k: int) -> float:
    apart = [cdist(layer, layer, "chebyshev") for layer in (one, two)]
    reach = np.sort(np.maximum(*apart), axis=1)[:, k, None]
    near = [(distances < reach).sum(1) for distances in apart]
    return float(digamma(k) + digamma(len(one)) - np.mean(digamma(near[0]) + digamma(near[1])))


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_ksg_counts_neighbours_as_it_is_defined(seed, k):
    one, two = normal(40, 2, seed=seed), normal(40, 3, seed=seed + 1)
    two[:, :2] += one
    measured = float(probes.ksg_mutual_information(one, two, k=k))
    assert measured == pytest.approx(brute_force_ksg(one, two, k), rel=1e-10, abs=1e-12)


def test_ksg_of_two_units_is_scikit_learns():
    one = normal(300, 1)
    two = 0.6 * one + 0.8 * normal(300, 1, seed=1)
    one, two = one / one.std(), two / two.std()
    [expected] = sklearn.feature_selection.mutual_info_regression(
        one, two[:, 0], n_neighbors=3, random_state=0
    )
    assert float(probes.ksg_mutual_information(one, two)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_ksg_of_normal_units_is_near_the_closed_form(correlation, in_library):
    one, noise = normal(2, 3000, 1)
    two = correlation * one + math.sqrt(1 - correlation**2) * noise
    expected = -0.5 * math.log(1 - correlation**2)
    measured = float(probes.ksg_mutual_information(in_library(one), in_library(two)))
    assert measured == pytest.approx(expected, abs=0.05)


def test_independent_layers_share_nothing_on_average():
    estimates = [
        float(probes.ksg_mutual_information(normal(100, 1, seed=2 * i), normal(100, 2, seed=2 * i + 1)))
        for i in range(100)
    ]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / 10 < 0.05


def test_ksg_is_symmetric_and_does_not_depend_on_the_order_of_examples():
    one, two = normal(30, 2), normal(30, 2, seed=1)
    value = float(probes.ksg_mutual_information(one, two))
    assert float(probes.ksg_mutual_information(two, one)) == pytest.approx(value, rel=1e-12)
    assert float(probes.ksg_mutual_information(one[::-1], two[::-1])) == pytest.approx(value, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_ross_counts_neighbours_as_it_is_defined(seed, k):
    layer, labels = normal(30, 2, seed=seed), np.arange(30) % 4
    apart = cdist(layer, layer, "chebyshev")
    same = labels[:, None] == labels
    reach = np.sort(np.where(same, apart, np.inf), axis=1)[:, k, None]
    near = digamma((apart < reach).sum(1)) + digamma(same.sum(1))
    measured = float(probes.ross_mutual_information(layer, labels - 7, k=k))
    assert measured == pytest.approx(digamma(k) + digamma(30) - near.mean(), rel=1e-10, abs=1e-12)


def test_ross_of_one_unit_is_scikit_learns():
    labels = np.arange(300) % 3
    layer = normal(300, 1) + labels[:, None]
    [expected] = sklearn.feature_selection.mutual_info_classif(layer, labels, n_neighbors=3, random_state=0)
    assert float(probes.ross_mutual_information(layer, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("overlap", "expected"), [(0.0, math.log(2)), (0.5, math.log(2) / 2), (1.0, 0.0)])
def test_ross_of_uniform_classes_is_near_the_closed_form(overlap, expected, in_library):
    labels = np.arange(4000) % 2
    layer = np.random.default_rng(0).uniform(size=(4000, 1)) + (1 - overlap) * labels[:, None]
    measured = float(probes.ross_mutual_information(in_library(layer), in_library(labels)))
    assert measured == pytest.approx(expected, abs=0.03)


def test_copies_have_no_neighbours_to_count(in_library):
    layer = in_library(np.repeat(normal(5, 2), 4, axis=0))
    assert math.isnan(probes.ksg_mutual_information(layer, layer))
    assert math.isnan(probes.ross_mutual_information(layer, in_library(np.repeat(np.arange(5), 4))))


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_tells_nothing(value, in_library):
    layer, labels = normal(12, 2), in_library(np.arange(12) % 2)
    layer[3, 1] = value
    for measure in WITH_LABELS:
        assert math.isnan(measure(in_library(layer), labels))
    assert math.isnan(probes.ksg_mutual_information(in_library(normal(12, 1)), in_library(layer)))


@pytest.mark.parametrize(
    "labels", [np.zeros(3, dtype=int), np.zeros((4, 1), dtype=int), np.zeros(4)], ids=["few", "2-D", "float"]
)
@pytest.mark.parametrize("measure", WITH_LABELS)
def test_labels_that_do_not_fit_are_refused(measure, labels):
    with pytest.raises(ValueError, match="needs one integer label an example, got .* for 4 examples; take"):
        measure(normal(4, 2), labels)


@pytest.mark.parametrize("measure", [*WITH_LABELS, probes.ksg_mutual_information])
def test_an_empty_batch_is_refused(measure):
    with pytest.raises(ValueError, match="needs at least one example and one unit, got shape .* leave empty"):
        measure(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize(("examples", "k"), [(6, 3), (5, 0), (5, 5)], ids=["other batch", "k=0", "k=batch"])
def test_neighbours_that_are_not_there_are_refused(examples, k):
    with pytest.raises(
        ValueError, match="on the same examples and 1 <= k < batch, got shapes .* record both"
    ):
        probes.ksg_mutual_information(normal(5, 2), normal(examples, 2), k=k)


@pytest.mark.parametrize("k", [0, 2])
def test_a_class_with_too_few_examples_is_refused(k):
    with pytest.raises(
        ValueError, match=f"more than k >= 1 examples of each class, got k={k} and a class of 2"
    ):
        probes.ross_mutual_information(normal(5, 2), np.array([0, 0, 1, 1, 1]), k=k)


# ---------------------------------------------------------------------------------------- libraries


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_numpy_and_torch_measure_the_same(dtype):
    torch = pytest.importorskip("torch")
    layer = torch.asarray(normal(40, 2)).to(getattr(torch, dtype))
    other, labels = torch.asarray(normal(40, 2, seed=1)), torch.arange(40) % 3
    for measured, expected in [
        *(
            (f(layer.requires_grad_(), labels), f(layer.detach().double().numpy(), labels.numpy()))
            for f in WITH_LABELS
        ),
        (
            probes.ksg_mutual_information(other, layer),
            probes.ksg_mutual_information(other.numpy(), layer.detach().double().numpy()),
        ),
    ]:
        assert isinstance(measured, torch.Tensor)
        assert measured.dtype == torch.float64
        assert not measured.requires_grad
        np.testing.assert_allclose(measured.numpy(), expected, rtol=1e-12)
