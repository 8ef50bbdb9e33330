"""Every primitive, in one table: its derivatives against two oracles, its dtype, its manners."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
import scratchnet.ops
import tests.scratchnet.primitives as table
from scratchnet.fused import Fused
from scratchnet.ops import elementwise as ew
from scratchnet.ops import reduction, shape
from scratchnet.tape import Array, Primitive
from tests.scratchnet.primitives.contract import Case

COMPLEX_STEP, CENTRAL_STEP = 1e-30, 1e-6


def _cases() -> Iterator[Case]:
    for found in pkgutil.iter_modules(table.__path__):
        yield from getattr(importlib.import_module(f"{table.__name__}.{found.name}"), "CASES", ())


CASES = list(_cases())
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def tensors(case: Case, dtype: type = float) -> list[Any]:
    """The inputs: tensors that want a gradient where there is a rule, plain arrays elsewhere."""
    return [
        x
        if x is None
        else sn.Tensor(x.astype(dtype), requires_grad=True)
        if position in case.differentiable
        else x.astype(dtype)
        for position, x in enumerate(case.inputs)
    ]


def constants(case: Case, dtype: type) -> dict[str, Any]:
    """The constants, those of floats in the given dtype, as the layers hand them over."""
    return {
        name: value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in case.constants.items()
    }


def directional_derivative(case: Case, position: int, direction: Array) -> Array:
    """Of the raw function, by the case's oracle, without the tape or any rule."""

    def along(distance: complex) -> Array:
        moved: list[Any] = [x if x is None else x.astype(type(distance)) for x in case.inputs]
        moved[position] = moved[position] + distance * direction
        return case.primitive.forward(*moved, **case.constants)

    if case.oracle == "complex":
        return along(1j * COMPLEX_STEP).imag / COMPLEX_STEP
    return (along(CENTRAL_STEP) - along(-CENTRAL_STEP)) / (2 * CENTRAL_STEP)


def test_every_primitive_has_a_case() -> None:
    modules = [
        importlib.import_module(f"scratchnet.ops.{found.name}")
        for found in pkgutil.iter_modules(scratchnet.ops.__path__)
    ]
    primitives = {
        value for module in modules for value in vars(module).values() if isinstance(value, Primitive)
    }
    assert {case.primitive for case in CASES} == primitives
    assert all(getattr(primitive, "formula", None) or primitive.rules for primitive in primitives)


@every_case
def test_first_and_second_derivatives_agree_with_central_differences(case: Case) -> None:
    inputs = tensors(case)
    mix = np.random.default_rng(1).standard_normal(
        case.primitive.forward(*case.inputs, **case.constants).shape
    )

    def closure() -> sn.Tensor:
        output = case.primitive(*inputs, **case.constants)
        # A square, so that linear primitives too have a second derivative to get wrong.
        return (output * (output + mix)).sum()

    sn.check_gradients(closure, [inputs[position] for position in case.differentiable], order=2, rng=2)


@every_case
def test_each_rule_is_the_transpose_of_the_raw_function_s_derivative(case: Case) -> None:
    inputs = tensors(case)
    output = case.primitive(*inputs, **case.constants)
    numbers = np.random.default_rng(3)
    cotangent = numbers.standard_normal(output.shape)
    tolerance = 1e-12 if case.oracle == "complex" else 1e-8
    for position in case.differentiable:
        (slope,) = sn.grad(output, [inputs[position]], cotangent, retain_graph=True)
        direction = numbers.standard_normal(case.inputs[position].shape)
        ahead = np.sum(cotangent * directional_derivative(case, position, direction))
        assert np.sum(slope.numpy() * direction) == pytest.approx(ahead, rel=tolerance, abs=tolerance)


@every_case
def test_output_and_gradients_keep_float32_and_the_input_s_shape(case: Case) -> None:
    inputs = tensors(case, np.float32)
    output = case.primitive(*inputs, **constants(case, np.float32))
    assert output.dtype == np.float32
    wanted = [inputs[position] for position in case.differentiable]
    slopes = sn.grad((output * output).sum(), wanted, create_graph=True)
    assert [(g.dtype, g.shape) for g in slopes] == [(np.float32, x.shape) for x in wanted]
    curvatures = sn.grad(sum((g * g).sum() for g in slopes), wanted, allow_unused=True)
    assert {g.dtype for g in curvatures if g is not None} <= {np.dtype(np.float32)}


@every_case
def test_nothing_that_is_given_is_written_into(case: Case) -> None:
    inputs = tensors(case)
    for value in inputs:
        if value is not None:
            np.asarray(value).flags.writeable = False
    output = case.primitive(*inputs, **case.constants)
    output.array.flags.writeable = False
    cotangent = sn.Tensor(np.ones(output.shape))
    cotangent.array.flags.writeable = False
    # A write would raise.
    wanted = [inputs[position] for position in case.differentiable]
    sn.grad(output, wanted, cotangent, create_graph=True)
    output.backward(cotangent)


@every_case
def test_on_plain_arrays_it_gives_a_plain_array(case: Case) -> None:
    result = case.primitive(*case.inputs, **case.constants)
    recorded = case.primitive(*tensors(case), **case.constants)
    assert not isinstance(result, sn.Tensor)
    np.testing.assert_array_equal(result, recorded.numpy())


FUSED = [case for case in CASES if isinstance(case.primitive, Fused)]


@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
def test_the_gradient_by_hand_equals_that_of_the_formula(case: Case) -> None:
    inputs = tensors(case)
    output = case.primitive(*inputs, **case.constants)
    formula = case.primitive.formula  # type: ignore[attr-defined]
    if formula is not None:
        np.testing.assert_allclose(
            output.numpy(), formula(*inputs, **case.constants).numpy(), rtol=1e-12, atol=1e-12
        )
    cotangent = np.random.default_rng(4).standard_normal(output.shape)
    wanted = [inputs[position] for position in case.differentiable]
    by_hand = sn.grad(output, wanted, cotangent, retain_graph=True)
    recorded = sn.grad(output, wanted, cotangent, create_graph=True, allow_unused=True)
    for mine, other in zip(by_hand, recorded, strict=True):
        expected = np.zeros(mine.shape) if other is None else other.numpy()
        np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
def test_a_gradient_that_nobody_wants_is_not_computed(case: Case) -> None:
    inputs = tensors(case)
    output = case.primitive(*inputs, **case.constants)
    node = output.node
    assert node is not None
    for position in case.differentiable:
        wanted = [position == other for other in range(len(inputs))]
        found = list(case.primitive.pull_back(node, np.ones(output.shape), wanted, None, None))
        assert [gradient is not None for gradient in found] == wanted


def test_an_input_without_a_rule_gets_no_gradient() -> None:
    g, y = (sn.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    ew.relu_gradient(g, y).sum().backward()
    assert y.grad is None


# -------------------------------------------------------------------------------------- known answers


@pytest.mark.parametrize("op", [ew.relu, ew.absolute], ids=lambda op: op.name)
def test_the_derivative_at_the_kink_is_zero(op: Primitive) -> None:
    x = sn.Tensor(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    op(x).sum().backward()
    assert x.grad is not None
    assert x.grad.numpy()[1] == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 64, 3 * ew.LARGE])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_dead_unit_passes_nothing_back_not_even_infinity(dtype: str, size: int, zero: float) -> None:
    x = sn.Tensor(np.resize(np.array([-1.0, zero, 2.0], dtype), (size, 3)), requires_grad=True)
    ew.relu(x).backward(np.full((size, 3), np.inf, dtype))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.resize(np.array([0, 0, np.inf], dtype), (size, 3)))


@pytest.mark.parametrize(
    ("exponent", "slope", "curvature"), [(0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 0, 0)], ids=str
)
def test_whole_powers_have_finite_derivatives_at_zero(exponent: int, slope: float, curvature: float) -> None:
    x = sn.Tensor(np.zeros(1), requires_grad=True)
    (first,) = sn.grad((x**exponent).sum(), [x], create_graph=True)
    assert first.numpy() == slope
    assert sn.hvp(lambda: (x**exponent).sum(), [x], [np.ones(1)]) == [np.array([curvature])]


def test_large_inputs_neither_overflow_nor_warn() -> None:
    x = np.array([[-1e4, 0.0, 1e4]])
    np.testing.assert_array_equal(ew.sigmoid(x), [[0.0, 0.5, 1.0]])
    np.testing.assert_array_equal(ew.tanh(x), [[-1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(reduction.softmax(x, axis=-1), [[0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(reduction.log_softmax(x, axis=-1), [[-2e4, -1e4, 0.0]])


VECTOR_PRODUCTS = {
    "vector, vector": ((3,), (3,)),
    "matrix, vector": ((2, 3), (3,)),
    "vector, matrix": ((3,), (3, 2)),
    "stack, vector": ((4, 2, 3), (3,)),
    "vector, stack": ((3,), (4, 3, 2)),
}


@pytest.mark.parametrize(("left", "right"), VECTOR_PRODUCTS.values(), ids=VECTOR_PRODUCTS)
def test_a_product_with_vectors_is_numpy_s_and_has_both_derivatives(
    rng: np.random.Generator, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    x, y = (sn.Tensor(rng.standard_normal(size), requires_grad=True) for size in (left, right))
    np.testing.assert_allclose((x @ y).numpy(), x.numpy() @ y.numpy(), rtol=1e-14)
    sn.check_gradients(lambda: ((x @ y) ** 2).sum(), [x, y], rng=0)


# ----------------------------------------------------------------------------------------------- laws

logits = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
    elements=st.floats(-50, 50),
)


@settings(max_examples=40, deadline=None)
@given(x=logits)
def test_rows_of_a_softmax_sum_to_one(x: Array) -> None:
    rows = reduction.softmax(x, axis=-1)
    assert np.all(rows >= 0)
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(x=logits, shift=st.floats(-100, 100))
def test_a_softmax_does_not_change_where_all_logits_shift(x: Array, shift: float) -> None:
    moved = reduction.softmax(x + shift, axis=-1)
    np.testing.assert_allclose(moved, reduction.softmax(x, axis=-1), rtol=1e-11, atol=1e-300)


@settings(max_examples=40, deadline=None)
@given(x=logits)
def test_a_log_softmax_is_the_logarithm_of_the_softmax(x: Array) -> None:
    logarithm = np.log(reduction.softmax(x, axis=-1))
    np.testing.assert_allclose(reduction.log_softmax(x, axis=-1), logarithm, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(index=hnp.integer_array_indices((4, 3)), seed=st.integers(0, 99))
def test_put_is_the_transpose_of_take(index: Any, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    x = numbers.standard_normal((4, 3))
    taken = shape.take(x, index=index, shape=x.shape)
    g = numbers.standard_normal(taken.shape)
    spread = shape.put(g, index=index, shape=x.shape)
    assert np.sum(g * taken) == pytest.approx(np.sum(spread * x), rel=1e-12, abs=1e-12)
