"""The three tests of the batch size: against their formulas, written out on the gradients themselves."""

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import probes

TESTS = [probes.norm_test, probes.inner_product_test, probes.orthogonality_test]
GRADIENTS = arrays_of.arrays(
    np.float64, st.tuples(st.integers(2, 8), st.integers(1, 5)), elements=st.floats(-100, 100)
)


def products_of(gradients):
    return probes.example_products(gradients, gradients.mean(axis=0))


def has_a_direction(gradients) -> bool:
    """Whether the mean is neither lost in rounding nor its square too small for float64."""
    return bool(np.linalg.norm(gradients.mean(axis=0)) > 1e-3 * np.abs(gradients).max() + 1e-140)


def by_formula(gradients) -> tuple[float, float, float]:
    """Standard errors of the mean as vectors: in all directions, along the mean, and across it."""
    batch, mean = len(gradients), gradients.mean(axis=0)
    length = np.linalg.norm(mean)
    along = gradients @ mean / length
    across = gradients - np.outer(along, mean / length)
    scatters = ((gradients - mean) ** 2).sum(), ((along - along.mean()) ** 2).sum(), (across**2).sum()
    whole, inner, ortho = (np.sqrt(scatter / (batch * (batch - 1))) / length for scatter in scatters)
    return float(whole), float(inner), float(ortho)


@settings(max_examples=60)
@given(GRADIENTS)
def test_the_three_are_what_their_formulas_say(gradients):
    assume(has_a_direction(gradients))
    found = [float(measure(products_of(gradients))) for measure in TESTS]
    np.testing.assert_allclose(found, by_formula(gradients), rtol=1e-6, atol=1e-5)


@settings(max_examples=60)
@given(GRADIENTS)
def test_along_and_across_make_up_the_whole(gradients):
    assume(has_a_direction(gradients))
    whole, inner, ortho = (float(measure(products_of(gradients))) ** 2 for measure in TESTS)
    assert inner + ortho == pytest.approx(whole, rel=1e-6, abs=1e-9)


def test_they_split_exactly_on_a_noisy_batch(in_library):
    gradients = np.random.default_rng(0).standard_normal((50, 300)) + 0.2
    products = probes.example_products(in_library(gradients), in_library(gradients.mean(axis=0)))
    whole, inner, ortho = (float(measure(products)) ** 2 for measure in TESTS)
    assert inner + ortho == pytest.approx(whole, rel=1e-12)


def test_the_square_times_the_batch_is_the_plain_noise_scale():
    gradients = np.random.default_rng(0).standard_normal((20, 30)) + 0.5
    plain = gradients.var(axis=0, ddof=1).sum() / (gradients.mean(axis=0) ** 2).sum()
    assert float(probes.norm_test(products_of(gradients))) ** 2 * 20 == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("measure", TESTS)
def test_examples_that_all_agree_pass_every_test(measure, in_library):
    gradients = np.tile(np.random.default_rng(0).standard_normal(10), (5, 1))
    found = measure(probes.example_products(in_library(gradients), in_library(gradients[0])))
    assert float(found) < 1e-7


@pytest.mark.parametrize("measure", TESTS)
def test_a_mean_of_zero_has_no_direction_to_test(measure, in_library):
    gradients = np.array([[1.0, 2.0], [-1.0, -2.0]])
    assert np.isnan(float(measure(probes.example_products(in_library(gradients), in_library(np.zeros(2))))))


@pytest.mark.parametrize("measure", TESTS)
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_scale_of_the_loss_does_not_matter(measure, factor):
    gradients = np.random.default_rng(0).standard_normal((10, 4)) + 1
    plain = float(measure(products_of(gradients)))
    assert float(measure(products_of(factor * gradients))) == pytest.approx(plain, rel=1e-10)


@pytest.mark.parametrize("measure", TESTS)
def test_one_example_is_refused(measure):
    with pytest.raises(ValueError, match="needs at least two examples, got 1"):
        measure(products_of(np.ones((1, 2))))


@pytest.mark.parametrize("measure", TESTS)
@pytest.mark.parametrize("mistake", ["divided by the batch size", "a chunk alone", "another batch's mean"])
def test_a_mean_that_is_not_theirs_is_refused(measure, mistake):
    gradients = np.random.default_rng(0).standard_normal((10, 6)) + 1
    mean = gradients.mean(axis=0)
    shown = {
        "divided by the batch size": (gradients / 10, mean),
        "a chunk alone": (gradients[:3], mean),
        "another batch's mean": (gradients, mean[::-1] * [1, 2, 1, 1, 1, 1]),
    }[mistake]
    with pytest.raises(ValueError, match="needs products with the mean of the same examples, got"):
        measure(probes.example_products(*shown))
