"""Clipping: PyTorch's numbers, norms at the ends of the range, whose array is written into."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.nn import utils
from scratchnet.tape import Array

ORDERS = [0.5, 1.0, 2.0, 3.0, math.inf]


def parameters(*gradients: Array | None) -> list[nn.Parameter]:
    """Parameters with these gradients."""
    made = []
    for gradient in gradients:
        parameter = nn.Parameter(np.zeros((1,) if gradient is None else gradient.shape, np.float32))
        if gradient is not None:
            parameter = nn.Parameter(np.zeros_like(gradient))
            (parameter * gradient).sum().backward()
        made.append(parameter)
    return made


def gradients(given: Iterable[nn.Parameter]) -> list[Array]:
    return [parameter.grad.numpy() for parameter in given if parameter.grad is not None]


@pytest.fixture(params=["float32", "float64"])
def arrays(request: pytest.FixtureRequest, rng: np.random.Generator) -> list[Array]:
    shapes = [(4, 3), (3,), (), (2, 1, 5)]
    return [np.asarray(rng.normal(0, 3, shape), request.param) for shape in shapes]


# ---------------------------------------------------------------------------------------------- norms


@pytest.mark.parametrize("order", ORDERS)
def test_a_total_norm_is_that_of_one_long_vector(arrays: list[Array], order: float) -> None:
    long = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
    expected = np.sum(np.abs(long) ** order) ** (1 / order) if order < math.inf else np.abs(long).max()
    rtol = 1e-13 if arrays[0].dtype == np.float64 else 1e-6
    assert utils.get_total_norm(arrays, order) == pytest.approx(expected, rel=rtol)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("max_norm", [0.0, 0.1, 5.0, 1e4])
def test_clipping_by_norm_is_pytorch_s(arrays: list[Array], order: float, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    twins = [torch.zeros(array.shape) for array in arrays]
    for twin, array in zip(twins, arrays, strict=True):
        twin.data = twin.data.to(getattr(torch, str(array.dtype)))
        twin.grad = torch.tensor(array)
    ours = parameters(*arrays, None)
    norm = utils.clip_grad_norm_(ours, max_norm, order)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(twins, max_norm, order).item(), rel=1e-6)
    rtol = 1e-12 if arrays[0].dtype == np.float64 else 2e-6
    for mine, twin in zip(gradients(ours), twins, strict=True):
        assert mine.dtype == twin.grad.numpy().dtype
        np.testing.assert_allclose(mine, twin.grad.numpy(), rtol=rtol)
    assert ours[-1].grad is None


def test_clipping_by_value_is_pytorch_s(arrays: list[Array]) -> None:
    torch = pytest.importorskip("torch")
    twins = [torch.nn.Parameter(torch.zeros(array.shape).to(torch.tensor(array).dtype)) for array in arrays]
    for twin, array in zip(twins, arrays, strict=True):
        twin.grad = torch.tensor(array)
    ours = parameters(*arrays, None)
    utils.clip_grad_value_(ours, 1.5)
    torch.nn.utils.clip_grad_value_(twins, 1.5)
    for mine, twin in zip(gradients(ours), twins, strict=True):
        np.testing.assert_array_equal(mine, twin.grad.numpy())


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("size", [1e30, 1e-30, 3e38, 1e-44])
def test_no_float32_number_is_too_large_or_too_small_for_a_norm(size: float, order: float) -> None:
    array = np.full((50, 20), size, np.float32)
    expected = float(array[0, 0]) * 1000 ** (1 / order)
    assert utils.get_total_norm([array], order) == pytest.approx(expected, rel=1e-6)
    assert utils.get_total_norm([array, array], order) == pytest.approx(expected * 2 ** (1 / order), rel=1e-6)


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e308])
def test_nor_is_a_float64_number(size: float) -> None:
    assert utils.get_total_norm(np.full(4, size / 2)) == pytest.approx(size, rel=1e-12)


def test_huge_gradients_are_clipped_to_a_norm_of_one() -> None:
    ours = parameters(np.full(100, 1e30, np.float32), np.full(20, -1e30, np.float32))
    assert utils.clip_grad_norm_(ours, 1.0) == pytest.approx(1e30 * math.sqrt(120), rel=1e-6)
    assert utils.get_total_norm(gradients(ours)) == pytest.approx(1.0, rel=1e-5)


vectors = st.lists(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=4), elements=st.floats(-1e9, 1e9)),
    min_size=1,
    max_size=4,
)


@given(vectors, st.floats(1e-3, 1e6), st.sampled_from([1.0, 2.0, math.inf]))
def test_a_clipped_norm_is_the_smaller_of_the_two_and_the_direction_stays(
    arrays: list[Array], max_norm: float, order: float
) -> None:
    ours = parameters(*arrays)
    before = utils.clip_grad_norm_(ours, max_norm, order)
    after = utils.get_total_norm(gradients(ours), order)
    assert after == pytest.approx(min(before, max_norm), rel=2e-3)
    assert after <= max_norm * (1 + 1e-9)
    for array, gradient in zip(arrays, gradients(ours), strict=True):
        scale = after / before if before else 1.0
        np.testing.assert_allclose(gradient, array * scale, rtol=1e-6, atol=1e-12)


def test_a_norm_is_a_number_that_can_be_printed_compared_and_asked_for() -> None:
    norm = utils.get_total_norm([sn.Tensor([3.0, 4.0])])
    assert f"{norm:.1f}" == "5.0"
    assert norm.item() == 5.0
    assert norm > 4
    assert utils.get_total_norm([]) == utils.get_total_norm([np.zeros((0, 3))]) == 0
    assert utils.get_total_norm(np.array([3, 4])) == 5


# ------------------------------------------------------------------------------------- whose array it is


def test_gradients_below_the_bound_stay_to_the_last_bit(arrays: list[Array]) -> None:
    ours = parameters(*arrays)
    utils.clip_grad_norm_(ours, 1e6)
    for mine, array in zip(gradients(ours), arrays, strict=True):
        np.testing.assert_array_equal(mine, array)


def test_an_optimiser_steps_with_the_clipped_gradient() -> None:
    weight = nn.Parameter(np.zeros(2))
    optimizer = optim.SGD([weight], lr=1.0)
    (weight * np.array([30.0, 40.0])).sum().backward()
    utils.clip_grad_norm_(weight, 5.0)
    optimizer.step()
    np.testing.assert_allclose(weight.numpy(), [-3.0, -4.0], rtol=1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_that_two_parameters_share_is_clipped_once(create_graph: bool) -> None:
    shared = np.array([3.0, 4.0])
    pair = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2))
    ((pair[0] + pair[1]) * shared).sum().backward(create_graph=create_graph)
    utils.clip_grad_norm_(pair, 0.5 * math.sqrt(50))
    for gradient in gradients(pair):
        np.testing.assert_allclose(gradient, [1.5, 2.0], rtol=1e-6)
    utils.clip_grad_value_(pair, 1.75)
    for gradient in gradients(pair):
        np.testing.assert_allclose(gradient, [1.5, 1.75], rtol=1e-6)
    np.testing.assert_array_equal(shared, [3.0, 4.0])


def test_a_generator_of_parameters_is_enough() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Linear(4, 2, rng=0))
    (model(np.ones((5, 3))) ** 2).sum().backward()
    utils.clip_grad_norm_(model.parameters(), 0.1)
    assert utils.get_total_norm(gradients(model.parameters())) == pytest.approx(0.1, rel=1e-4)


# ------------------------------------------------------------------------------------------ not finite


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_a_norm_that_is_not_finite_scales_as_in_pytorch(worst: float, order: float) -> None:
    torch = pytest.importorskip("torch")
    array = np.array([1.0, worst, -2.0], np.float32)
    twin = torch.nn.Parameter(torch.zeros(3))
    twin.grad = torch.tensor(array)
    (ours,) = parameters(np.zeros(3, np.float32))
    assert ours.grad is not None
    ours.grad.array[...] = array
    norm = utils.clip_grad_norm_(ours, 1.0, order)
    expected = torch.nn.utils.clip_grad_norm_(twin, 1.0, order)
    np.testing.assert_array_equal(norm, expected.numpy())
    np.testing.assert_array_equal(ours.grad.numpy(), twin.grad.numpy())


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_it_is_an_error_if_asked_for_and_nothing_is_scaled(worst: float) -> None:
    (ours,) = parameters(np.array([1.0, 2.0]))
    assert ours.grad is not None
    ours.grad.array[0] = worst
    with pytest.raises(RuntimeError, match=f"needs finite tensors, got a norm of order 2 that is {worst}"):
        utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(ours.grad.numpy(), [worst, 2.0])


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "order zero": (lambda: utils.get_total_norm([np.ones(2)], 0), "needs norm_type > 0 .*, got 0"),
    "a negative bound": (lambda: utils.clip_grad_norm_([], -1.0), "needs max_norm >= 0, got max_norm=-1.0"),
    "a bound that is no number": (lambda: utils.clip_grad_norm_([], math.nan), "got max_norm=nan"),
    "a negative value": (
        lambda: utils.clip_grad_value_([], -1.0),
        "needs clip_value >= 0, got clip_value=-1",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_bounds_nothing_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "clip",
    [
        lambda w: utils.clip_grad_norm_(w, 1.0),
        lambda w: utils.clip_grad_value_([w], 1.0),
        lambda w: utils.clip_grad_norm_(w, 99.0),
    ],
    ids=["norm", "value", "a norm that is small enough"],
)
def test_who_listens_to_a_parameter_hears_its_gradient_before_it_is_clipped(clip):
    weight, heard = nn.Parameter(np.array([3.0, 4.0])), []
    handle = weight.register_clip_hook(lambda gradient: heard.append(gradient.copy()))
    clip(weight)
    assert heard == []
    (weight * weight).sum().backward()
    clip(weight)
    assert [gradient.tolist() for gradient in heard] == [[6.0, 8.0]]
    handle.remove()
    clip(weight)
    assert len(heard) == 1
