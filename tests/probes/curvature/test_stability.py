import math

import numpy as np
import pytest
from scipy.linalg import eigh

from probes import (
    adam_preconditioner,
    adam_stability_threshold,
    preconditioned_hvp,
    stability_threshold,
    top_eigenvalues,
)
from tests.probes.curvature.matrices import Counted, wishart


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"learning_rate": 0.01}, 200.0, id="plain"),
        pytest.param({"learning_rate": 0.5, "momentum": 0.75}, 7.0, id="heavy ball"),
        pytest.param({"learning_rate": 0.5, "momentum": 0.75, "nesterov": True}, 2.8, id="Nesterov"),
        pytest.param({"learning_rate": 0.5, "nesterov": True}, 4.0, id="Nesterov without momentum"),
        pytest.param({"learning_rate": 0.5, "weight_decay": 0.1}, 3.9, id="weight decay"),
        pytest.param({"learning_rate": 0.0}, math.inf, id="no learning rate"),
    ],
)
def test_stability_threshold_of_known_optimisers(arguments, expected):
    assert stability_threshold(**arguments) == pytest.approx(expected)


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_descent_on_a_parabola_settles_below_the_threshold_and_not_above_it(momentum, nesterov, weight_decay):
    threshold = stability_threshold(0.1, momentum, nesterov, weight_decay)

    def distance_after_descent(curvature: float) -> float:
        weight, velocity = 1.0, 0.0
        for _ in range(3000):
            gradient = (curvature + weight_decay) * weight
            velocity = momentum * velocity + gradient
            weight -= 0.1 * (gradient + momentum * velocity if nesterov else velocity)
        return abs(weight)

    assert distance_after_descent(0.99 * threshold) < 1e-3
    assert distance_after_descent(1.01 * threshold) > 1e3


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"learning_rate": 0.1, "momentum": 1.0},
        {"learning_rate": 0.1, "momentum": -0.1},
        {"learning_rate": 0.1, "weight_decay": -1.0},
    ],
    ids=str,
)
def test_hyperparameters_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="needs learning_rate >= 0, 0 <= momentum < 1 and weight_decay >= 0"):
        stability_threshold(**arguments)


# ------------------------------------------------------------------------------------------------- Adam


@pytest.mark.parametrize(
    ("learning_rate", "beta1", "expected"),
    [(0.001, 0.9, 38000.0), (0.5, 0.0, 4.0), (0.5, 0.5, 12.0), (0.0, 0.9, math.inf)],
    ids=["usual", "RMSprop", "half", "no learning rate"],
)
def test_adam_threshold_of_known_settings(learning_rate, beta1, expected):
    assert adam_stability_threshold(learning_rate, beta1) == pytest.approx(expected)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_adam_with_settled_moments_settles_below_the_threshold_and_not_above_it(beta1):
    preconditioner = 0.25
    threshold = adam_stability_threshold(0.1, beta1)

    def distance_after_descent(preconditioned_curvature: float) -> float:
        weight, average = 1.0, 0.0
        for _ in range(3000):
            average = beta1 * average + (1 - beta1) * preconditioned_curvature * preconditioner * weight
            weight -= 0.1 * average / preconditioner
        return abs(weight)

    assert distance_after_descent(0.99 * threshold) < 1e-3
    assert distance_after_descent(1.01 * threshold) > 1e3


@pytest.mark.parametrize(("learning_rate", "beta1"), [(-1.0, 0.9), (math.nan, 0.9), (0.1, 1.0), (0.1, -0.1)])
def test_settings_that_adam_cannot_have_are_refused(learning_rate, beta1):
    with pytest.raises(
        ValueError, match="adam_stability_threshold needs learning_rate >= 0 and 0 <= beta1 < 1"
    ):
        adam_stability_threshold(learning_rate, beta1)


def test_the_preconditioner_is_what_adam_divides_its_average_by():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=0.01, betas=(0.8, 0.95), eps=1e-3)
    for step in range(1, 6):
        weight.grad = torch.tensor([0.5, 0.01, 0.0], dtype=torch.float64) * step
        before = weight.detach().clone()
        optimizer.step()
        state = optimizer.state[weight]
        divisor = adam_preconditioner(state["exp_avg_sq"], step, beta1=0.8, beta2=0.95, eps=1e-3)
        torch.testing.assert_close(weight.detach() - before, -0.01 * state["exp_avg"] / divisor)


@pytest.mark.parametrize(
    "arguments", [{"step": 0}, {"step": 1, "beta1": 1.0}, {"step": 1, "beta2": 1.0}], ids=str
)
def test_a_state_that_adam_cannot_have_is_refused(arguments):
    with pytest.raises(
        ValueError, match="adam_preconditioner needs step >= 1, 0 <= beta1 < 1 and 0 <= beta2 < 1"
    ):
        adam_preconditioner(np.ones(2), **arguments)


# -------------------------------------------------------------------------------- preconditioned Hessian


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_preconditioned_hessian_has_the_eigenvalues_of_the_quotient(dtype, in_library):
    matrix, diagonal = wishart(40), np.random.default_rng(0).uniform(0.1, 10, 40)
    hvp = preconditioned_hvp(Counted(in_library(matrix.astype(dtype))), in_library(diagonal.astype(dtype)))
    like = in_library(np.empty(0, dtype=dtype))
    found = top_eigenvalues(hvp, 40, k=3, tol=1e-6 if dtype == "float64" else 1e-4, rng=0, like=like)
    expected = eigh(matrix, np.diag(diagonal), eigvals_only=True)[::-1][:3]
    np.testing.assert_allclose(np.asarray(found.values), expected, rtol=1e-10 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize(
    ("diagonal", "came"),
    [
        ([1.0, 0.0, 1.0], r"shape \(3,\) with 1 entries that are not"),
        ([1.0, -1.0, math.nan], r"shape \(3,\) with 2 entries that are not"),
        ([1.0, math.inf, 1.0], r"shape \(3,\) with 1 entries"),
        ([[1.0, 1.0]], r"shape \(1, 2\) with 0 entries"),
    ],
    ids=["zero", "negative and NaN", "infinite", "not flat"],
)
def test_a_diagonal_that_nothing_can_be_divided_by_is_refused(diagonal, came, in_library):
    with pytest.raises(
        ValueError, match=f"needs a flat diagonal with every entry finite and above 0, got {came}"
    ):
        preconditioned_hvp(lambda v: v, in_library(np.array(diagonal)))


def test_a_vector_unlike_the_diagonal_is_refused():
    with pytest.raises(ValueError, match=r"needs vectors of shape \(3,\), as its diagonal, got \(1,\)"):
        preconditioned_hvp(lambda v: v, np.ones(3))(np.ones(1))
