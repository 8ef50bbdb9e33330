"""Products of per-example gradients: against the gradients themselves, held in full."""

import math
import tracemalloc

import numpy as np
import pytest

import probes
from probes.noise.examples import _formed_product, _gram_product


def linear_layer(examples: int, positions: tuple[int, ...], inputs: int, outputs: int):
    """Inputs, output gradients and the per-example gradients that they make."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((examples, *positions, inputs))
    delta = rng.standard_normal((examples, *positions, outputs))
    rows = x.reshape(examples, -1, inputs), delta.reshape(examples, -1, outputs)
    return x, delta, np.einsum("bti,bto->boi", *rows)


def assert_products_of(found, gradients):
    rows, mean = gradients.reshape(len(gradients), -1), gradients.mean(axis=0).ravel()
    np.testing.assert_allclose(found.squared_norms, (rows**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.with_mean, rows @ mean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.mean_squared_norm, mean @ mean, rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3, 2)], ids=str)
def test_products_are_those_of_the_rows(shape, in_library):
    gradients = np.random.default_rng(0).standard_normal((7, *shape))
    mean = np.asarray(gradients.mean(axis=0))
    assert_products_of(probes.example_products(in_library(gradients), in_library(mean)), gradients)


@pytest.mark.parametrize(
    ("positions", "inputs", "outputs"),
    [
        pytest.param((), 5, 4, id="no positions"),
        pytest.param((1,), 5, 4, id="one position"),
        pytest.param((3,), 5, 4, id="a short sequence, by Gram matrices"),
        pytest.param((9,), 5, 4, id="a long sequence, by the gradient"),
        pytest.param((2, 3), 6, 7, id="a space of two axes"),
        pytest.param((2,), 1, 1, id="a single weight"),
    ],
)
def test_a_linear_layer_needs_no_gradients_for_its_products(positions, inputs, outputs, in_library):
    x, delta, gradients = linear_layer(8, positions, inputs, outputs)
    mean = in_library(gradients.mean(axis=0))
    assert_products_of(probes.linear_example_products(in_library(x), in_library(delta), mean), gradients)


def test_both_ways_over_positions_agree():
    x, delta, _ = linear_layer(5, (6,), 4, 3)
    np.testing.assert_allclose(_gram_product(x, delta), _formed_product(x, delta), rtol=1e-12)


def test_chunks_and_tensors_make_up_the_whole(in_library):
    x, delta, weight = linear_layer(8, (), 5, 4)
    whole = np.concatenate([weight.reshape(8, -1), delta], axis=1)
    means = [in_library(part.mean(axis=0)) for part in (weight, delta)]
    chunks = [
        probes.summed_tensors(
            [
                probes.linear_example_products(in_library(x[rows]), in_library(delta[rows]), means[0]),
                probes.example_products(in_library(delta[rows]), means[1]),
            ]
        )
        for rows in (slice(0, 3), slice(3, 8))
    ]
    assert_products_of(probes.joined_examples(chunks), whole)


def test_only_one_gradient_is_ever_formed():
    examples, features = 256, 128
    x, delta = np.random.default_rng(0).standard_normal((2, examples, features))
    mean = delta.T @ x / examples
    tracemalloc.start()
    probes.linear_example_products(x, delta, mean)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A tenth of what the per-example gradients would take.
    assert peak < examples * features**2 * 8 / 10


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
def test_a_bad_entry_in_one_example_stays_with_it_and_with_the_mean(bad, in_library):
    gradients = np.ones((3, 2))
    gradients[1, 0] = bad
    products = probes.example_products(in_library(gradients), in_library(gradients.mean(axis=0)))
    np.testing.assert_equal(np.asarray(products.squared_norms), [2.0, bad, 2.0])
    for test in (probes.norm_test, probes.inner_product_test, probes.orthogonality_test):
        assert math.isnan(float(test(products)))
    assert math.isnan(float(probes.example_noise(products).scale))


@pytest.mark.parametrize(
    ("gradients", "mean"),
    [((), ()), ((0, 3), (3,)), ((4, 0), (0,)), ((4, 3), (2,))],
    ids=["no axis", "no examples", "no entries", "another tensor"],
)
def test_gradients_that_do_not_fit_their_mean_are_refused(gradients, mean):
    with pytest.raises(ValueError, match="example_products needs gradients of shape"):
        probes.example_products(np.ones(gradients), np.ones(mean))


@pytest.mark.parametrize(
    ("inputs", "output_gradients"),
    [((4,), (4,)), ((4, 2), (3, 2)), ((4, 5, 2), (4, 6, 2)), ((0, 2), (0, 2)), ((4, 0, 2), (4, 0, 2))],
    ids=["no features", "other examples", "other positions", "no examples", "no positions"],
)
def test_the_two_sides_of_a_layer_must_fit(inputs, output_gradients):
    sides = np.ones(inputs), np.ones(output_gradients)
    with pytest.raises(
        ValueError, match="linear_example_products needs inputs and output gradients of shapes"
    ):
        probes.linear_example_products(*sides, mean=np.ones((2, 2)))
    with pytest.raises(ValueError, match="add_linear needs inputs and output gradients of shapes"):
        probes.GradientMoments().add_linear(*sides)


def test_a_mean_of_another_layer_is_refused():
    with pytest.raises(ValueError, match=r"needs a mean gradient of shape \(3, 2\), got \(2, 3\)"):
        probes.linear_example_products(np.ones((4, 2)), np.ones((4, 3)), np.ones((2, 3)))


def test_tensors_of_different_examples_do_not_add_up():
    parts = [probes.example_products(np.ones((examples, 1)), np.ones(1)) for examples in (2, 3)]
    with pytest.raises(ValueError, match=r"all of the same examples, got \[2, 3\] examples"):
        probes.summed_tensors(parts)
    with pytest.raises(ValueError, match="needs at least one tensor"):
        probes.summed_tensors([])


def test_chunks_against_different_means_are_not_joined():
    parts = [probes.example_products(np.ones((2, 1)), np.full(1, mean)) for mean in (1.0, 2.0)]
    with pytest.raises(
        ValueError, match=r"all with the same mean, got squared norms of the mean \[1.0, 4.0\]"
    ):
        probes.joined_examples(parts)
    with pytest.raises(ValueError, match="needs at least one chunk"):
        probes.joined_examples([])


def test_numpy_and_torch_measure_the_same():
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(0).standard_normal((9, 40, 30))
    here = probes.example_products(gradients, gradients.mean(axis=0))
    tensor = torch.asarray(gradients).requires_grad_()
    there = probes.example_products(tensor, tensor.mean(dim=0))
    for measure in (probes.norm_test, probes.inner_product_test, probes.orthogonality_test):
        measured = measure(there)
        assert isinstance(measured, torch.Tensor)
        assert not measured.requires_grad
        assert float(measured) == pytest.approx(float(measure(here)), rel=1e-12)
