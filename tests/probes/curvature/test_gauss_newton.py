from functools import partial

import numpy as np
import pytest

import scratchnet as sn
import scratchnet.nn.functional as F
from probes import (
    hessian_diagonal,
    hutch_pp_trace,
    make_empirical_fisher_vp,
    make_gauss_newton_vp,
    spectral_density,
    top_eigenvalues,
    trace,
    xtrace,
)
from scratchnet import nn


def dense(hvp, dim):
    return np.stack([hvp(column) for column in np.eye(dim)], axis=1)


class Classifier:
    """A small network under cross-entropy, with its parameters seen as one flat vector."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.standard_normal((8, 3)), rng.integers(0, 4, 8)
        self.model = nn.Sequential(nn.Linear(3, 5, rng=0), nn.Tanh(), nn.Linear(5, 4, rng=1)).double()
        self.parameters = list(self.model.parameters())
        self.dim = sum(parameter.numpy().size for parameter in self.parameters)
        self.predict = partial(self.model, self.x)

    def loss(self, logits):
        return F.cross_entropy(logits, self.y)

    def parts(self, vector):
        """A flat vector as arrays shaped like the parameters."""
        ends = np.cumsum([parameter.numpy().size for parameter in self.parameters])[:-1]
        pairs = zip(np.split(vector, ends), self.parameters, strict=True)
        return [part.reshape(like.numpy().shape) for part, like in pairs]

    def flat(self, product):
        """A product on lists of arrays as one on flat vectors."""
        return lambda vector: joined(product(self.parts(vector)))

    def gauss_newton_vp(self):
        return self.flat(sn.make_ggn_vp(self.predict, self.loss, self.parameters))

    def probabilities(self):
        return np.exp(F.log_softmax(self.predict(), 1).numpy())

    def gradients(self, labels):
        """Of each example alone with the given labels, a row each."""
        each = sn.per_example_gradients(
            lambda x, y: F.cross_entropy(self.model(x), y), self.parameters, self.x, labels
        )
        return np.concatenate([part.reshape(len(labels), -1) for part in each], axis=1)


def joined(parts):
    return np.concatenate([part.ravel() for part in parts])


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


def test_gauss_newton_from_three_products_is_that_of_scratchnet(classifier):
    probabilities = classifier.probabilities()

    def output_hvp(moved):
        return probabilities * (moved - (probabilities * moved).sum(axis=1, keepdims=True)) / len(moved)

    ours = make_gauss_newton_vp(
        lambda vector: sn.jvp(classifier.predict, classifier.parameters, classifier.parts(vector)),
        lambda cotangent: joined(sn.vjp(classifier.predict, classifier.parameters, cotangent)),
        output_hvp,
    )
    expected = dense(classifier.gauss_newton_vp(), classifier.dim)
    np.testing.assert_allclose(dense(ours, classifier.dim), expected, atol=1e-14)


def test_gauss_newton_of_cross_entropy_is_the_fisher_information(classifier):
    """The mean over the labels that the model itself expects, every label with its probability."""
    probabilities = classifier.probabilities()
    rows = [
        np.sqrt(4 * probabilities[:, [label]]) * classifier.gradients(np.full(8, label)) for label in range(4)
    ]
    fisher = dense(make_empirical_fisher_vp(np.concatenate(rows)), classifier.dim)
    expected = dense(classifier.gauss_newton_vp(), classifier.dim)
    np.testing.assert_allclose(fisher, expected, atol=1e-14)


def test_the_empirical_fisher_is_not_the_fisher_information(classifier):
    empirical = dense(make_empirical_fisher_vp(classifier.gradients(classifier.y)), classifier.dim)
    fisher = dense(classifier.gauss_newton_vp(), classifier.dim)
    assert np.linalg.norm(empirical - fisher) > 0.5 * np.linalg.norm(fisher)


def test_the_empirical_fisher_vanishes_at_an_exact_fit_where_the_curvature_does_not():
    x = np.random.default_rng(0).standard_normal((6, 3))
    residuals = x @ np.ones(3) - x @ np.ones(3)
    fisher_vp = make_empirical_fisher_vp(residuals[:, None] * x)
    gauss_newton_vp = make_gauss_newton_vp(lambda v: x @ v, lambda u: x.T @ u, lambda u: u / 6)
    assert float(trace(fisher_vp, 3, rng=0).value) == 0.0
    assert float(trace(gauss_newton_vp, 3, rng=0).value) > 1.0


def test_measures_take_a_gauss_newton_product(classifier):
    hvp, dim = classifier.gauss_newton_vp(), classifier.dim
    matrix = dense(hvp, dim)
    eigenvalues = np.linalg.eigvalsh(matrix)
    found = top_eigenvalues(hvp, dim, k=3, tol=1e-10, rng=0)
    np.testing.assert_allclose(found.values, eigenvalues[::-1][:3], rtol=1e-8)
    for estimate in (trace, hutch_pp_trace, xtrace):
        near = estimate(hvp, dim, rng=0)
        assert abs(float(near.value) - np.trace(matrix)) <= 3 * float(near.standard_error) + 1e-9
    diagonal = hessian_diagonal(hvp, dim, samples=300, rng=0)
    assert (np.abs(diagonal.values - np.diag(matrix)) <= 4 * diagonal.standard_errors).all()
    assert float(spectral_density(hvp, dim, starts=3, rng=0).nodes.min()) > -1e-9


def test_measures_take_an_empirical_fisher_product(in_library):
    gradients = np.random.default_rng(0).standard_normal((5, 12))
    given = in_library(gradients)
    matrix = gradients.T @ gradients / 5
    found = top_eigenvalues(make_empirical_fisher_vp(given), 12, k=6, tol=1e-10, rng=0, like=given)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(matrix)[::-1][:6], atol=1e-9)
    assert type(found.values) is type(given)
    whole = xtrace(make_empirical_fisher_vp(given), 12, max_products=20, rng=1, like=given)
    assert float(whole.value) == pytest.approx(np.trace(matrix), rel=1e-9)
    assert whole.products == 10 + 5


def test_the_empirical_fisher_reads_views_and_leaves_the_tape_alone():
    torch = pytest.importorskip("torch")
    gradients = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    product = make_empirical_fisher_vp(gradients[::2, ::2])
    vector = torch.ones(4, dtype=torch.float64)
    found = product(vector)
    rows = gradients.detach().numpy()[::2, ::2]
    np.testing.assert_allclose(found.numpy(), rows.T @ rows @ np.ones(4) / 3, rtol=1e-12)


# ------------------------------------------------------------------------------------------------ errors


def test_a_vjp_that_is_not_the_transpose_of_the_jvp_is_refused():
    jacobian, other = np.random.default_rng(0).standard_normal((2, 6, 4))
    hvp = make_gauss_newton_vp(lambda v: jacobian @ v, lambda u: other.T @ u, lambda u: u)
    with pytest.raises(ValueError, match="needs a symmetric Hessian"):
        trace(hvp, 4, rng=0)


@pytest.mark.parametrize(
    ("gradients", "came"),
    [
        pytest.param(np.ones(3), r"float64 of shape \(3,\)", id="one example"),
        pytest.param(np.ones((0, 3)), r"float64 of shape \(0, 3\)", id="no examples"),
        pytest.param(np.ones((3, 0)), r"float64 of shape \(3, 0\)", id="no weights"),
        pytest.param(np.ones((2, 3), dtype=np.float16), r"float16 of shape \(2, 3\)", id="half"),
        pytest.param(np.ones((2, 3), dtype=int), r"int64 of shape \(2, 3\)", id="integers"),
    ],
)
def test_gradients_that_are_no_matrix_are_refused(gradients, came):
    with pytest.raises(
        ValueError, match=rf"needs gradients of shape \(examples, dim\) .* got {came}; flatten"
    ):
        make_empirical_fisher_vp(gradients)


def test_gradients_that_are_not_finite_are_refused_by_the_measure():
    gradients = np.ones((2, 3))
    gradients[1, 1] = np.nan
    with pytest.raises(ValueError, match="needs finite Hessian-vector products"):
        trace(make_empirical_fisher_vp(gradients), 3, rng=0)


def test_vectors_of_another_kind_are_refused(in_library):
    gradients = in_library(np.ones((2, 3), dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"own kind, .*float32, got float64; give the measure like=gradients"
    ):
        trace(make_empirical_fisher_vp(gradients), 3, rng=0)
