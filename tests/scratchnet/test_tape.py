"""The tape: what is recorded, and how a gradient finds its way back."""

import contextvars
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
from scratchnet import nn, tape
from scratchnet.backward import sum_to_shape
from scratchnet.tape import Array, primitive


def leaf(value: Any) -> sn.Tensor:
    return sn.Tensor(np.asarray(value, float), requires_grad=True)


def gradient(tensor: sn.Tensor) -> Array:
    assert tensor.grad is not None
    return tensor.grad.numpy()


@pytest.fixture
def nodes_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the primitives that were recorded since the test began."""
    made: list[str] = []
    record = tape.Node.__init__

    def counted(node: Any, primitive: Any, *rest: Any) -> None:
        made.append(primitive.name)
        record(node, primitive, *rest)

    monkeypatch.setattr(tape.Node, "__init__", counted)
    return made


# ------------------------------------------------------------------------------------------ the graph


def test_a_node_that_is_used_twice_gets_both_gradients() -> None:
    a = leaf(3.0)
    b = a + a
    c = b * b
    c.backward()
    assert c.item() == 36
    assert gradient(a) == 24  # c = 4 a²


def test_a_diamond_of_unequal_arms_is_walked_in_topological_order() -> None:
    x = leaf(2.0)
    y = x * x
    (y + (y * x + 1) * y).backward()
    assert gradient(x) == pytest.approx(2 * 2 + 5 * 2**4 + 2 * 2)  # x² + x⁵ + x²


def test_a_gradient_is_the_same_to_the_last_bit_whenever_it_is_computed(rng: np.random.Generator) -> None:
    x, scales = leaf(rng.standard_normal(50)), rng.standard_normal((30, 50))

    def one() -> Array:
        (slope,) = sn.grad(sum((x * s).exp().sum() for s in scales), [x])
        return slope.numpy()

    reference = one()
    litter = []
    for _ in range(10):
        litter.append([leaf(0.0) for _ in range(17)])  # moves the next nodes elsewhere in memory
        np.testing.assert_array_equal(one(), reference)


# ----------------------------------------------------------------------------------- what is recorded


def test_a_computation_on_tensors_that_need_no_gradient_is_not_recorded(nodes_made: list[str]) -> None:
    assert (sn.Tensor([1.0]) * 2).node is None
    assert not nodes_made


def test_nothing_is_recorded_inside_no_grad(nodes_made: list[str]) -> None:
    x = leaf(1.0)
    with sn.no_grad():
        assert not sn.is_recording()
        assert not (x * 2).requires_grad
    assert sn.is_recording()
    assert not nodes_made


def test_no_grad_decorates_a_function_too_and_each_call_anew() -> None:
    double = sn.no_grad()(lambda x: x * 2)
    assert [double(leaf(1.0)).requires_grad for _ in range(2)] == [False, False]
    assert sn.is_recording()


def test_recording_goes_on_after_an_error_inside_no_grad() -> None:
    with pytest.raises(ZeroDivisionError), sn.no_grad():
        _ = 1 / 0
    assert sn.is_recording()


def test_no_grad_holds_in_its_own_context_only() -> None:
    with sn.no_grad():
        assert contextvars.Context().run(sn.is_recording)


def test_a_first_order_backward_pass_records_nothing(nodes_made: list[str], rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(4, 5, rng=0), nn.Tanh(), nn.Linear(5, 3, rng=1), nn.ReLU(), nn.Sigmoid())
    y = model(rng.standard_normal((6, 4)))
    loss = nn.CrossEntropyLoss()(y[1:] / 2.0, [0, 1, 2, 0, 1]) + nn.MSELoss()(y.mean(0), np.zeros(3))
    assert nodes_made
    nodes_made.clear()
    sn.grad(loss, list(model.parameters()), retain_graph=True)
    loss.backward()
    assert nodes_made == []


def test_a_user_s_own_primitive_is_recorded_and_differentiated_like_ours() -> None:
    @primitive
    def sine(x: Any) -> Array:
        """y = sin x."""
        return np.sin(x)

    @primitive
    def cosine(x: Any) -> Array:
        """y = cos x."""
        return np.cos(x)

    sine.differentiate(lambda g, _y, x: g * cosine(x))
    cosine.differentiate(lambda g, _y, x: -g * sine(x))
    x = leaf([0.3, -1.2])
    assert sn.check_gradients(lambda: (sine(x) * x).sum(), [x], rng=0) < 1e-8
    assert repr(sine) == "<primitive sine>"
    assert sine.__doc__ == "y = sin x."


def test_a_bare_variable_has_no_operators_to_be_made_of() -> None:
    with pytest.raises(TypeError, match=r"use scratchnet\.Tensor"):
        tape.Variable.make(np.ones(1), None)


# ------------------------------------------------------------------------------------------- backward


def test_backward_adds_to_the_gradient_that_is_there() -> None:
    x = leaf([1.0, 2.0])
    for _ in range(3):
        (x * 2).sum().backward()
    np.testing.assert_array_equal(gradient(x), [6.0, 6.0])


def test_leaves_that_one_rule_gives_the_same_array_have_gradients_of_their_own() -> None:
    a, b = leaf([1.0]), leaf([2.0])
    (a + b).backward(create_graph=True)
    (a + b).backward(sn.Tensor(np.ones(1)))
    assert [gradient(a).item(), gradient(b).item()] == [2.0, 2.0]
    slopes = sn.grad((a + b).sum(), [a, b])
    slopes[0].array += 5
    assert slopes[1].numpy() == [1.0]


def test_a_leaf_is_its_own_gradient_s_end() -> None:
    x = leaf(3.0)
    x.backward()
    assert gradient(x) == 1
    assert sn.grad(x, [x])[0].item() == 1


@pytest.mark.parametrize(
    "cotangent",
    [[1.0, 2.0], np.array([1.0, 2.0]), sn.Tensor(np.array([1.0, 2.0])), sn.Tensor([1.0, 2.0])],
    ids=["list", "array", "tensor", "tensor of another dtype"],
)
def test_backward_of_a_vector_takes_the_gradient_that_arrives_at_it(cotangent: Any) -> None:
    x = leaf([1.0, 1.0])
    (x * 3).backward(cotangent)
    np.testing.assert_array_equal(gradient(x), [3.0, 6.0])
    assert gradient(x).dtype == np.float64


def test_backward_of_a_vector_alone_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"needs a scalar, got shape \(2,\); reduce it with \.sum\(\)"):
        leaf([1.0, 2.0]).exp().backward()


def test_backward_with_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gradient of the output's shape \(2,\), got \(3,\)"):
        leaf([1.0, 2.0]).exp().backward(np.ones(3))


def test_backward_of_what_was_not_recorded_is_refused() -> None:
    with sn.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match=r"output that was recorded.*outside no_grad\(\)"):
        y.backward()


@pytest.mark.parametrize("share", [lambda y: y, lambda y: y * 2], ids=["the same output", "another output"])
def test_a_second_backward_pass_over_a_freed_tape_is_refused(share: Any) -> None:
    y = leaf(1.0).exp()
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"tape, which an earlier backward pass has freed.*retain_graph=True"
    ):
        share(y).backward()


def test_a_retained_tape_can_be_gone_back_through_again() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert gradient(x) == 8


def test_backward_with_create_graph_makes_gradients_that_can_be_differentiated() -> None:
    x = leaf(2.0)
    (x**4).backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first is not None
    first.backward()
    assert [first.item(), gradient(x).item()] == [32.0, 48.0]


# ----------------------------------------------------------------------------------------------- grad


def test_grad_leaves_every_tensor_s_gradient_alone() -> None:
    x = leaf([1.0, 2.0])
    (slope,) = sn.grad((x**2).sum(), [x])
    assert x.grad is None
    assert not slope.requires_grad
    np.testing.assert_array_equal(slope.numpy(), [2.0, 4.0])


def test_a_gradient_from_grad_can_be_written_into() -> None:
    (slope,) = sn.grad((x := leaf([1.0, 2.0])).sum(), [x])
    slope.array *= 3
    np.testing.assert_array_equal(slope.numpy(), [3.0, 3.0])


def test_grad_finds_intermediate_tensors_as_well_as_leaves() -> None:
    x = leaf(3.0)
    y = x * 2
    z = y * y
    assert [g.item() for g in sn.grad(z, [x, y, z, y])] == [24.0, 12.0, 1.0, 12.0]


def test_grad_goes_back_only_where_a_target_lies() -> None:
    x, w = leaf(1.0), leaf(1.0)
    heard: list[float] = []
    branch = w.exp()
    branch.register_hook(lambda g: heard.append(float(g)))
    assert sn.grad(x * branch, [x])[0].item() == pytest.approx(np.e)
    assert heard == []


def test_grad_goes_on_to_any_order() -> None:
    x, y, derivatives = leaf(2.0), None, []
    y = x**4
    for _ in range(5):
        (y,) = sn.grad(y, [x], create_graph=True)
        derivatives.append(y.item())
    assert derivatives == [32.0, 48.0, 48.0, 24.0, 0.0]


def test_a_gradient_penalty_is_differentiated_through_the_gradient() -> None:
    x, w = leaf([1.0, -2.0]), leaf([0.5, 3.0])
    (slope,) = sn.grad((x * w * w).sum(), [x], create_graph=True)
    (slope**2).sum().backward()
    np.testing.assert_allclose(gradient(w), 4 * w.numpy() ** 3)


def test_grad_with_respect_to_an_unused_input_is_refused_unless_allowed() -> None:
    x, unused = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"input 1 is not among them; pass allow_unused=True"):
        sn.grad(x * 2, [x, unused])
    slope, none = sn.grad(x * 2, [x, unused], allow_unused=True)
    assert (slope.item(), none) == (2.0, None)


def test_grad_with_respect_to_a_constant_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"input 0 does not; make it with requires_grad=True"):
        sn.grad(leaf(1.0) * 2, [sn.Tensor(1.0)])


# ---------------------------------------------------------------------------------------------- dtypes


def test_two_tensors_of_unequal_dtype_that_both_need_a_gradient_are_refused() -> None:
    with pytest.raises(TypeError, match=r"multiply needs tensors of one dtype, got float32 and float64"):
        leaf([1.0]) * sn.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="one dtype"):
        sn.Tensor([1.0]) * sn.Tensor(np.ones(1))


def test_a_tensor_that_needs_no_gradient_takes_the_dtype_of_one_that_does() -> None:
    weight = sn.Tensor([2.0], requires_grad=True)
    for data in (sn.Tensor(np.array([0.5])), sn.Tensor(np.array([1]))):
        assert (data * weight).dtype == np.float32
        assert (weight * data).dtype == np.float32


@pytest.mark.parametrize(
    "plain",
    [2, 2.0, True, np.float64(2), np.array(2.0), np.array([2.0, 3.0]), np.array([2, 3]), [2.0, 3.0]],
    ids=lambda plain: f"{type(plain).__name__}-{np.asarray(plain).dtype}-{np.ndim(plain)}d",
)
def test_plain_data_adopts_the_dtype_of_the_tensor_that_it_meets(plain: Any) -> None:
    x = sn.Tensor([1.0, 2.0], requires_grad=True)
    for y in (x * plain, plain * x, x - plain, plain / x):
        assert y.dtype == np.float32
    (x * plain).sum().backward()
    np.testing.assert_array_equal(gradient(x), np.broadcast_to(np.asarray(plain, np.float32), 2))
    assert gradient(x).dtype == np.float32


def test_an_integer_tensor_does_not_cut_the_fractions_off_plain_data() -> None:
    np.testing.assert_array_equal((sn.Tensor(np.array([1, 2])) * np.array([0.5, 0.25])).numpy(), [0.5, 0.5])


# ------------------------------------------------------------------------------------ hooks on tensors


def test_a_hook_on_a_tensor_hears_its_whole_gradient_once() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    heard: list[Array] = []
    y.register_hook(lambda g: heard.append(g.copy()))
    x.register_hook(lambda g: heard.append(g.copy()))
    (y * y + y).sum().backward()
    np.testing.assert_array_equal(heard, [2 * y.numpy() + 1, 3 * (2 * y.numpy() + 1)])


def test_a_hook_outlives_the_tensor_that_it_was_hung_on() -> None:
    x = leaf(1.0)
    heard: list[Any] = []
    y = x * 3
    y.register_hook(heard.append)
    z = y * 2
    del y
    z.backward()
    assert heard == [2.0]


def test_a_removed_hook_hears_nothing() -> None:
    x = leaf(1.0)
    heard: list[Any] = []
    handle = x.register_hook(heard.append)
    handle.remove()
    (x * 2).backward()
    assert heard == []


def test_a_hook_hears_arrays_in_a_backward_pass_that_is_itself_recorded() -> None:
    x = leaf(2.0)
    heard: list[Any] = []
    x.register_hook(lambda g: heard.append(type(g)))
    sn.grad(x * x, [x], create_graph=True)
    assert heard == [np.ndarray]


def test_what_a_hook_computes_is_recorded_only_if_the_pass_is() -> None:
    x, heard = leaf(2.0), list[bool]()
    x.register_hook(lambda _: heard.append(sn.is_recording()))
    sn.grad(x * x, [x])
    sn.grad(x * x, [x], create_graph=True)
    assert heard == [False, True]


def test_a_hook_on_a_constant_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"register_hook needs a tensor that requires a gradient"):
        sn.Tensor([1.0]).register_hook(print)


# ------------------------------------------------------------------------------------------------ laws


@settings(max_examples=30, deadline=None)
@given(values=hnp.arrays(np.float64, (2, 3), elements=st.floats(-3, 3)), factor=st.floats(-3, 3))
def test_the_gradient_of_a_sum_is_the_sum_of_the_gradients(values: Array, factor: float) -> None:
    x = leaf(values)

    def slope(output: sn.Tensor) -> Array:
        return sn.grad(output, [x])[0].numpy()

    together = slope(x.tanh().sum() + (x * x).sum() * factor)
    np.testing.assert_allclose(
        together, slope(x.tanh().sum()) + factor * slope((x * x).sum()), rtol=1e-12, atol=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
def test_summing_to_a_shape_is_the_transpose_of_broadcasting_to_it(shapes: Any) -> None:
    (small, _), full = shapes.input_shapes, shapes.result_shape
    numbers = np.random.default_rng(0)
    x, g = numbers.standard_normal(small), numbers.standard_normal(full)
    summed = sum_to_shape(g, small)
    assert summed.shape == small
    assert np.sum(summed * x) == pytest.approx(np.sum(g * np.broadcast_to(x, full)), rel=1e-12, abs=1e-12)
