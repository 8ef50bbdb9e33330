"""Known answers of the rules that PyTorch does not have, or does in other digits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.optim.muon import orthogonalized
from scratchnet.optim.shampoo import inverse_root


def moved(kind: Any, start: Any, gradients: list[Any], **options: Any) -> Any:
    """Where a parameter ends up that is given these gradients one after another."""
    p = nn.Parameter(np.array(start))
    optimizer = kind([p], **options)
    for gradient in gradients:
        p.grad = sn.Tensor(np.array(gradient))
        optimizer.step()
    return p.numpy()


# ------------------------------------------------------------------------------------------------ Lion


def test_lion_moves_every_weight_by_the_learning_rate_whatever_its_gradient() -> None:
    end = moved(optim.Lion, [1.0, 1.0, 1.0], [[1e-9, -1e9, 0.0]], lr=0.5)
    np.testing.assert_array_equal(end, [0.5, 1.5, 1.0])


def test_lion_s_mean_outlasts_a_small_gradient_the_other_way() -> None:
    # m = 0.01 after the first step; 0.9 · 0.01 + 0.1 · (−0.05) = 0.004 is still positive, with −0.1 it is not.
    end = moved(optim.Lion, [0.0, 0.0], [[1.0, 1.0], [-0.05, -0.1]], lr=1.0)
    np.testing.assert_array_equal(end, [-2.0, 0.0])


# ------------------------------------------------------------------------------------------------ Muon


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16), st.sampled_from([np.float32, np.float64])
)
def test_newton_schulz_keeps_singular_vectors_and_brings_singular_values_near_one(
    rows: int, columns: int, seed: int, dtype: Any
) -> None:
    numbers = np.random.default_rng(seed)
    short = min(rows, columns)
    left = np.linalg.qr(numbers.standard_normal((rows, rows)))[0][:, :short]
    right = np.linalg.qr(numbers.standard_normal((columns, columns)))[0][:, :short]
    values = numbers.uniform(0.1, 1.0, short)
    result = orthogonalized(((left * values) @ right.T).astype(dtype))
    core = left.T @ result @ right
    assert result.dtype == dtype
    np.testing.assert_allclose(result, left @ core @ right.T, atol=1e-3)
    np.testing.assert_allclose(core, np.diag(np.diag(core)), atol=1e-3)
    assert 0.6 < np.diag(core).min() <= np.diag(core).max() < 1.3


def test_a_matrix_of_zeros_has_no_direction() -> None:
    np.testing.assert_array_equal(orthogonalized(np.zeros((2, 3))), np.zeros((2, 3)))


def test_muon_is_pytorch_s_to_the_digits_of_bfloat16() -> None:
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(0).standard_normal((6, 4))
    gradient = np.random.default_rng(1).standard_normal((6, 4))
    twin = torch.nn.Parameter(torch.tensor(start))
    twin.grad = torch.tensor(gradient)
    torch.optim.Muon([twin], lr=1.0, weight_decay=0.0).step()
    move = moved(optim.Muon, start, [gradient], lr=1.0, weight_decay=0.0) - start
    np.testing.assert_allclose(move, twin.detach().numpy() - start, atol=0.03)


# --------------------------------------------------------------------------------------------- Shampoo


@pytest.mark.parametrize("order", [2, 4, 6])
def test_an_inverse_root_is_scipy_s_fractional_power(order: int) -> None:
    numbers = np.random.default_rng(0)
    factor = numbers.standard_normal((5, 5))
    moments = factor @ factor.T + 0.1 * np.eye(5)
    expected = fractional_matrix_power(moments, -1 / order)
    np.testing.assert_allclose(inverse_root(moments, order, 1e-12), expected, rtol=1e-9)


def test_an_inverse_root_stays_finite_where_rounding_made_an_eigenvalue_negative() -> None:
    moments = np.diag([1.0, -1e-18])
    np.testing.assert_allclose(inverse_root(moments, 4, 1e-4), np.diag([1.0, 10.0]))


def test_shampoo_s_first_step_on_a_matrix_is_the_paper_s() -> None:
    gradient = np.random.default_rng(0).standard_normal((3, 2))
    left, right = gradient @ gradient.T + 0.1 * np.eye(3), gradient.T @ gradient + 0.1 * np.eye(2)
    expected = fractional_matrix_power(left, -0.25) @ gradient @ fractional_matrix_power(right, -0.25)
    move = moved(optim.Shampoo, np.zeros((3, 2)), [gradient], lr=1.0, eps=0.1)
    np.testing.assert_allclose(move, -expected, rtol=1e-9)


def test_shampoo_keeps_the_diagonal_of_a_long_axis() -> None:
    gradient = np.random.default_rng(0).standard_normal((3, 2))
    left = np.diag(np.square(gradient).sum(axis=1) + 0.1) ** 0.25
    right = gradient.T @ gradient + 0.1 * np.eye(2)
    expected = np.linalg.inv(left + 0.0) @ gradient @ fractional_matrix_power(right, -0.25)
    move = moved(optim.Shampoo, np.zeros((3, 2)), [gradient], lr=1.0, eps=0.1, max_axis=2)
    np.testing.assert_allclose(move, -expected, rtol=1e-9)


def test_shampoo_on_a_vector_is_adagrad() -> None:
    gradients = list(np.random.default_rng(0).standard_normal((5, 4)))
    ours = moved(optim.Shampoo, np.zeros(4), gradients, lr=0.1, eps=0.3)
    theirs = moved(optim.Adagrad, np.zeros(4), gradients, lr=0.1, initial_accumulator_value=0.3, eps=0.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_shampoo_moves_a_single_number_and_a_tensor() -> None:
    assert moved(optim.Shampoo, 1.0, [2.0], lr=1.0, eps=1e-12) == pytest.approx(0.0)
    assert moved(optim.Shampoo, np.zeros((2, 3, 4, 5)), [np.ones((2, 3, 4, 5))]).max() < 0


# ------------------------------------------------------------------------------------------------- SAM


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=4), st.floats(0, 1), st.floats(0.01, 0.2))
def test_sam_on_a_quadratic_is_its_closed_form(start: list[float], rho: float, lr: float) -> None:
    curvatures = np.arange(1.0, len(start) + 1)
    p = nn.Parameter(np.array(start))
    optimizer = optim.SAM(optim.SGD([p], lr=lr), rho=rho)

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = 0.5 * (p * p * curvatures).sum()
        loss.backward()
        return loss

    w, g = np.array(start), curvatures * np.array(start)
    expected = w - lr * curvatures * (w + rho * g / (np.linalg.norm(g) + 1e-12))
    loss = optimizer.step(closure)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert loss.item() == pytest.approx(0.5 * curvatures @ w**2)


def test_sam_puts_the_weights_back_exactly_before_the_base_moves() -> None:
    p = nn.Parameter(np.random.default_rng(0).standard_normal(5, dtype=np.float32))
    before, seen = p.numpy().copy(), []
    base = optim.SGD([p], lr=0.1)
    optimizer = optim.SAM(base, rho=0.7)
    base.register_step_pre_hook(lambda _: seen.append(p.numpy().copy()))
    optimizer.register_step_pre_hook(lambda _: seen.append(p.numpy().copy()))

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = (p**4.0).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(seen) == 2
    for weights in seen:
        np.testing.assert_array_equal(weights, before)


def test_sam_puts_the_weights_back_where_the_closure_fails() -> None:
    p = nn.Parameter(np.array([1.0]))
    optimizer = optim.SAM(optim.SGD([p]), rho=0.5)

    def closure() -> sn.Tensor:
        if p.item() != 1.0:
            raise RuntimeError("no data")
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="no data"):
        optimizer.step(closure)
    assert p.item() == 1.0


def test_sam_s_groups_are_its_base_s_with_a_radius_of_their_own() -> None:
    a, b = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    base = optim.SGD([a], lr=0.1)
    optimizer = optim.SAM(base, rho=0.5)
    optimizer.add_param_group({"params": [b], "rho": 2.0})
    assert optimizer.param_groups is base.param_groups
    assert [group["rho"] for group in base.param_groups] == [0.5, 2.0]
    with pytest.raises(ValueError, match="SAM needs rho >= 0"):
        optimizer.add_param_group({"params": [nn.Parameter(np.ones(1))], "rho": -1.0})


# -------------------------------------------------------------------------------------------- L-BFGS


def minimized(loss_of: Any, start: list[float], steps: int, **options: Any) -> Any:
    p = nn.Parameter(np.array(start))
    optimizer = optim.LBFGS([p], **options)

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = loss_of(p)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return p.numpy()


def rosenbrock(p: sn.Tensor) -> sn.Tensor:
    return (1.0 - p[0]) ** 2 + 100.0 * (p[1] - p[0] ** 2) ** 2


def test_l_bfgs_with_its_line_search_finds_rosenbrock_s_minimum() -> None:
    end = minimized(
        rosenbrock, [-1.2, 1.0], 5, max_iter=20, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )
    np.testing.assert_allclose(end, [1.0, 1.0], rtol=1e-6)


def test_l_bfgs_minimises_a_quadratic_without_a_search() -> None:
    curvatures = np.array([1.0, 10.0, 100.0])
    end = minimized(lambda p: 0.5 * (p * p * curvatures).sum(), [1.0, 1.0, 1.0], 3, max_iter=20)
    np.testing.assert_allclose(end, 0.0, atol=1e-6)


def test_the_line_search_follows_a_straight_slope_as_far_as_it_may() -> None:
    # Ten times as far each time: a straight line has no minimum, and its cubic divides by zero.
    end = minimized(lambda p: -1.0 * p.sum(), [0.0], 1, max_iter=1, max_eval=4, line_search_fn="strong_wolfe")
    torch = pytest.importorskip("torch")
    twin = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    theirs = torch.optim.LBFGS([twin], max_iter=1, max_eval=4, line_search_fn="strong_wolfe")

    def closure() -> Any:
        theirs.zero_grad()
        loss = -twin.sum()
        loss.backward()
        return loss.detach()

    theirs.step(closure)
    np.testing.assert_allclose(end, twin.detach().numpy())
    assert end.item() == 1000.0


def test_l_bfgs_stays_where_the_gradient_is_zero() -> None:
    np.testing.assert_array_equal(minimized(lambda p: (p * p).sum(), [0.0], 2), [0.0])
