"""Pooling and resizing: known answers, ties, laws, errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.ops import pooling, resampling
from scratchnet.ops.pooling import Line
from scratchnet.tape import Array

# Few values, so that most windows have several maxima.
ties = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(4, 7), st.integers(4, 7)),
    elements=st.sampled_from([-1.0, 0.0, 2.0]),
)
pools = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "ceil_mode": st.booleans(),
    }
)


def channels_last(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@settings(max_examples=80, deadline=None)
@given(x=ties, options=pools, is_last=st.booleans())
def test_of_equal_elements_the_first_gets_the_gradient_as_in_pytorch(
    x: Array, options: dict[str, Any], is_last: bool
) -> None:
    torch = pytest.importorskip("torch")
    padding = tuple(k // 2 for k in options["kernel_size"])
    other = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.max_pool2d(other, padding=padding, **options)
    g = np.random.default_rng(0).standard_normal(tuple(expected.shape))
    expected.backward(torch.tensor(g))
    mine = sn.Tensor(channels_last(x) if is_last else x, requires_grad=True)
    y = F.max_pool2d(mine, padding=padding, **options)
    np.testing.assert_array_equal(y.numpy(), expected.detach())
    y.backward(g)
    assert mine.grad is not None
    np.testing.assert_allclose(mine.grad.numpy(), other.grad, rtol=1e-13, atol=1e-13)


def test_a_maximum_s_second_derivative_is_zero() -> None:
    x = sn.Tensor(np.array([[1.0, 4.0, 2.0, 3.0]]), requires_grad=True)
    assert not np.any(sn.hvp(lambda: F.max_pool1d(x, 2).sum(), [x], [np.ones((1, 4))])[0])
    (product,) = sn.hvp(lambda: (F.max_pool1d(x, 2) ** 2).sum(), [x], [np.ones((1, 4))])
    np.testing.assert_array_equal(product, [[0.0, 2.0, 0.0, 2.0]])


@pytest.mark.parametrize("value", [-np.inf, np.inf], ids=str)
def test_infinite_elements_are_pooled_like_others(value: float) -> None:
    x = np.array([[value, value, 1.0, value]])
    np.testing.assert_array_equal(F.max_pool1d(x, 2).numpy(), [[value, max(1.0, value)]])


def test_a_number_that_is_none_stays_visible() -> None:
    assert np.isnan(F.max_pool1d(np.array([[np.nan, 1.0]]), 2).numpy()).all()


lines = st.builds(
    lambda kernel, stride, padding, dilation, extra: Line(
        1,
        dilation * (kernel - 1) + 1 + extra,
        (2 * padding + extra) // stride + 1,
        kernel,
        stride,
        padding,
        dilation,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(0, 5),
)


@settings(max_examples=80, deadline=None)
@given(line=lines, seed=st.integers(0, 99))
def test_sums_and_maxima_equal_those_of_each_window_and_have_transposes(line: Line, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, line.size, 3))
    edge = ((0, 0), (line.padding, line.padding + line.stride * line.kernel * line.dilation), (0, 0))
    starts = np.arange(line.output) * line.stride
    index = starts[:, None] + np.arange(line.kernel) * line.dilation
    total, largest = (pool(x, line=line) for pool in (pooling.window_sum, pooling.maximum))
    np.testing.assert_allclose(total, np.pad(x, edge)[:, index].sum(axis=2), rtol=1e-12, atol=1e-12)
    expected = np.pad(x, edge, constant_values=-np.inf)[:, index].max(axis=2)
    np.testing.assert_array_equal(largest, expected)
    g, z = rng.standard_normal(total.shape), rng.standard_normal(x.shape)
    ahead = (total * g).sum()
    assert (pooling.window_spread(g, line=line) * x).sum() == pytest.approx(ahead, rel=1e-10, abs=1e-10)
    back = pooling.maximum_gradient(g, x, largest, line=line)
    forth = pooling.take_maximum(z, x, largest, line=line)
    assert (back * z).sum() == pytest.approx((forth * g).sum(), rel=1e-10, abs=1e-10)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 9), output=st.integers(1, 9))
def test_adaptive_pooling_to_any_size_equals_pytorch_s(size: int, output: int) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng([size, output]).standard_normal((2, 3, size))
    for name in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
        mine = getattr(F, name)(x, output).numpy()
        np.testing.assert_allclose(
            mine, getattr(torch.nn.functional, name)(torch.tensor(x), output), rtol=1e-12
        )


@settings(max_examples=60, deadline=None)
@example(size=2, factor=1.25, mode="linear")
@example(size=2, factor=1.25, mode="nearest")
@given(
    size=st.integers(1, 9),
    factor=st.one_of(st.integers(1, 12), st.floats(0.3, 4.0)),
    mode=st.sampled_from(["nearest", "nearest-exact", "linear", "linear, corners"]),
)
def test_resizing_to_any_size_equals_pytorch_s(size: int, factor: float, mode: str) -> None:
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {"mode": mode.split(",")[0]}
    if mode.startswith("linear"):
        options["align_corners"] = "corners" in mode
    if isinstance(factor, int):
        options["size"] = factor
    elif int(size * factor) < 1:
        return
    else:
        options["scale_factor"] = factor
    x = np.random.default_rng(size).standard_normal((2, 3, size))
    other = torch.nn.functional.interpolate(torch.tensor(x), **options)
    np.testing.assert_allclose(F.interpolate(x, **options).numpy(), other, rtol=1e-10, atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(
    widths=st.lists(st.integers(-2, 3), min_size=0, max_size=3).flatmap(
        lambda low: st.tuples(
            st.just(low), st.lists(st.integers(-2, 3), min_size=len(low), max_size=len(low))
        )
    )
)
def test_a_frame_is_pytorch_s_also_where_it_cuts_off(widths: tuple[list[int], list[int]]) -> None:
    torch = pytest.importorskip("torch")
    flat = [width for pair in zip(*widths, strict=True) for width in pair]
    x = np.random.default_rng(0).standard_normal((5, 4, 6))
    expected = torch.nn.functional.pad(torch.tensor(x), flat, value=0.5)
    np.testing.assert_array_equal(F.pad(x, flat, value=0.5).numpy(), expected)


@settings(max_examples=50, deadline=None)
@given(index=hnp.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 4)))
def test_gather_is_the_transpose_of_pick(index: Array) -> None:
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, index.size, 3))
    back = resampling.gather(g, index=index, axis=1, size=5)
    ahead = (resampling.pick(x, index=index, axis=1, size=5) * g).sum()
    assert (back * x).sum() == pytest.approx(ahead, rel=1e-12, abs=1e-12)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda x: F.max_pool2d(x[0, 0], 2),
            r"max_pool2d needs an input of shape \(batch, channels, height, width\).*\(4, 5\)",
        ),
        (
            lambda x: F.max_pool2d(x, 6),
            r"padded input at least as large as its kernel of \(6, 6\).*\(2, 3, 4, 5\)",
        ),
        (
            lambda x: F.max_pool2d(x, 2, padding=2),
            "max_pool2d needs padding of at most half its kernel of 2, got 2",
        ),
        (lambda x: F.max_pool2d(x, 0), "kernel_size .*>= 1, got 0"),
        (lambda x: F.max_pool2d(x, (2, 2, 2)), r"kernel_size .*got \(2, 2, 2\)"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor_override other than 0"),
        (lambda x: F.avg_pool1d(x, 2), r"avg_pool1d needs an input of shape \(batch, channels, length\)"),
        (lambda x: F.adaptive_avg_pool2d(x, 0), "adaptive_avg_pool2d needs output_size .*got 0"),
        (lambda x: F.adaptive_max_pool2d(x, (1, 2, 3)), r"output_size .*got \(1, 2, 3\)"),
        (lambda x: F.adaptive_avg_pool2d(x[:, :, :0], 1), r"elements to pool.*\(2, 3, 0, 5\)"),
        (lambda x: F.interpolate(x), "either size or scale_factor"),
        (lambda x: F.interpolate(x, 3, 2.0), "either size or scale_factor"),
        (lambda x: F.interpolate(x, (3, 4, 5)), r"one number or 2 for shape \(2, 3, 4, 5\)"),
        (lambda x: F.interpolate(x, scale_factor=0.1), "new size of at least 1"),
        (lambda x: F.interpolate(x, 3, mode="linear"), r"of 3 axes.*mode 'linear'.*\(2, 3, 4, 5\)"),
        (lambda x: F.interpolate(x, 3, mode="bicubic"), "mode nearest.*got 'bicubic'"),
        (lambda x: F.interpolate(x, 3, align_corners=True), "mode of lines for align_corners"),
        (
            lambda x: F.pad(x, (1,)),
            r"two widths for each of at most 4 axes .* got \(1,\); give widths before",
        ),
        (lambda x: F.pad(x, (1,) * 10), r"at most 4 axes of its input of shape \(2, 3, 4, 5\)"),
        (lambda x: F.pad(x, (-3, -3)), r"no axis below 0, got \(-3, -3\) for shape \(2, 3, 4, 5\)"),
        (lambda x: F.pad(x, (1, 1), mode="reflect"), "mode 'constant', got 'reflect'; index the input"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_so(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call(np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("widths", [1, (1.5, 1), "11"])
def test_the_widths_of_a_frame_are_a_sequence_of_whole_numbers(widths: Any) -> None:
    with pytest.raises(TypeError, match="pad needs a sequence of whole numbers as widths, got "):
        F.pad(np.zeros((2, 3)), widths)


def test_indices_reflect_what_a_frame_cannot() -> None:
    torch = pytest.importorskip("torch")
    x = np.arange(6.0).reshape(1, 2, 3)
    expected = torch.nn.functional.pad(torch.tensor(x), (1, 2), mode="reflect")
    np.testing.assert_array_equal(sn.Tensor(x)[..., [1, 0, 1, 2, 1, 0]].numpy(), expected)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.MaxPool2d(2), "kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False"),
        (nn.AvgPool1d(2, 3), "kernel_size=2, stride=3, padding=0"),
        (nn.AdaptiveAvgPool2d((1, None)), r"output_size=(1, None)"),
        (nn.Upsample(scale_factor=2), "scale_factor=2, mode='nearest'"),
    ],
)
def test_the_text_form_tells_the_arguments(layer: nn.Module, text: str) -> None:
    assert repr(layer) == f"{type(layer).__name__}({text})"
