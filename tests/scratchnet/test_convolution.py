"""Convolutions: laws, fast ways against the plain definition, errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.ops import columns
from scratchnet.ops.columns import Geometry
from scratchnet.ops.convolution import convolve, convolve_transposed, correlate_weight
from scratchnet.tape import Array


def plain(x: Array, weight: Array, geometry: Geometry) -> Array:
    """A convolution of images by its definition: one window at a time."""
    x = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
    rows, across = (
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], weight.shape[2:], geometry.stride, geometry.dilation, strict=True)
    )
    y = np.zeros((len(x), len(weight), rows, across))
    inputs, outputs = weight.shape[1], len(weight) // geometry.groups
    for o, r, c in np.ndindex(len(weight), rows, across):
        band = o // outputs * inputs
        top, left = r * geometry.stride[0], c * geometry.stride[1]
        window = x[:, band : band + inputs, top :: geometry.dilation[0], left :: geometry.dilation[1]]
        window = window[:, :, : weight.shape[2], : weight.shape[3]]
        y[:, o, r, c] = (window * weight[o]).sum(axis=(1, 2, 3))
    return y


def channels_last(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def every_other(x: Array) -> Array:
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


LAYOUTS = {"channels first": np.ascontiguousarray, "channels last": channels_last, "gaps": every_other}
WAYS = {
    "few channels": ((3, 2, 3, 3), (6, 5), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 1)),
    "many channels": ((4, 17, 3, 3), (6, 5), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 1)),
    "no padding": ((4, 17, 2, 3), (6, 5), Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
    "one tap": ((4, 3, 1, 1), (4, 5), Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
    "one tap, groups": ((4, 3, 1, 1), (4, 5), Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 2)),
    "strides": ((4, 3, 3, 2), (7, 6), Geometry((2, 3), ((1, 1), (0, 0)), (1, 2), 1)),
    "depthwise": ((18, 1, 3, 3), (5, 4), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 18)),
    "wide groups": ((4, 17, 2, 2), (4, 4), Geometry((1, 1), ((0, 0), (1, 1)), (1, 1), 2)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("tile", [1, 1500, 1 << 21], ids=["by line", "by image", "at once"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_of_computing_it_equals_the_definition(
    way: Any, layout: Any, tile: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "TILE", tile)
    shape, space, geometry = way
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, shape[1] * geometry.groups, *space))
    weight, mix = rng.standard_normal(shape), rng.standard_normal(shape[0])
    expected = plain(x, weight, geometry) + mix[:, None, None]
    g = rng.standard_normal(expected.shape)
    tolerance = 1e-12 if dtype is np.float64 else 1e-4
    inputs = [sn.Tensor(a.astype(dtype), requires_grad=True) for a in (x, weight, mix)]
    inputs[0] = sn.Tensor(layout(x.astype(dtype)), requires_grad=True)
    y = convolve(*inputs, geometry=geometry)
    np.testing.assert_allclose(y.numpy(), expected, rtol=tolerance, atol=tolerance)
    y.backward(layout(g.astype(dtype)))
    # The gradient of a linear map, told by what it does to every direction.
    for tensor, zeros in zip(inputs, ((0, 1), (1, 0)), strict=False):
        direction = rng.standard_normal(tensor.shape)
        moved: tuple[Array, Array] = (direction, weight) if zeros == (0, 1) else (x, direction)
        ahead = (plain(*moved, geometry) * g).sum()
        assert tensor.grad is not None
        assert (tensor.grad.numpy() * direction).sum() == pytest.approx(ahead, rel=tolerance * 100)
    assert inputs[2].grad is not None
    np.testing.assert_allclose(
        inputs[2].grad.numpy(), g.sum(axis=(0, 2, 3)), rtol=tolerance * 10, atol=tolerance
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_gradient_alone_equals_that_of_both_together(way: Any) -> None:
    shape, space, geometry = way
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, shape[1] * geometry.groups, *space)), rng.standard_normal(shape)
    g = rng.standard_normal(convolve(x, weight, None, geometry=geometry).shape)
    found: list[list[Any]] = []
    for wants_x, wants_weight in ((True, True), (True, False), (False, True)):
        inputs = [sn.Tensor(x, requires_grad=wants_x), sn.Tensor(weight, requires_grad=wants_weight)]
        convolve(*inputs, None, geometry=geometry).backward(g)
        found.append([None if tensor.grad is None else tensor.grad.numpy() for tensor in inputs])
    together, alone_x, alone_weight = found
    np.testing.assert_allclose(alone_x[0], together[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(alone_weight[1], together[1], rtol=1e-12, atol=1e-12)
    assert alone_x[1] is None
    assert alone_weight[0] is None


geometries = st.builds(
    lambda stride, low, high, dilation, groups: Geometry((stride,), ((low, high),), (dilation,), groups),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 2),
    st.integers(1, 3),
)


@settings(max_examples=60, deadline=None)
@given(geometry=geometries, kernel=st.integers(1, 3), extra=st.integers(0, 4), seed=st.integers(0, 99))
def test_the_three_primitives_are_one_trilinear_form(
    geometry: Geometry, kernel: int, extra: int, seed: int
) -> None:
    size = geometry.dilation[0] * (kernel - 1) + 1 + extra
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 2 * geometry.groups, size))
    weight = rng.standard_normal((3 * geometry.groups, 2, kernel))
    y = convolve(x, weight, None, geometry=geometry)
    g = rng.standard_normal(y.shape)
    form = (y * g).sum()
    back = convolve_transposed(g, weight, None, geometry=geometry, size=(size,))
    assert (back * x).sum() == pytest.approx(form, rel=1e-10, abs=1e-10)
    slope = correlate_weight(x, g, geometry=geometry, kernel=(kernel,))
    assert (slope * weight).sum() == pytest.approx(form, rel=1e-10, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(shift=st.integers(0, 3), seed=st.integers(0, 99))
def test_what_moves_in_the_input_moves_as_far_in_the_output(shift: int, seed: int) -> None:
    x = np.zeros((1, 1, 12))
    x[..., 4:6] = np.random.default_rng(seed).standard_normal(2)
    layer = nn.Conv1d(1, 3, 3, rng=seed).double()
    there = layer(np.roll(x, shift, axis=-1)).numpy()
    np.testing.assert_array_equal(there, np.roll(layer(x).numpy(), shift, axis=-1))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_padding_puts_the_odd_zero_at_the_end_as_pytorch_does(dilation: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 2, 4))
    options: dict[str, Any] = {"padding": "same", "dilation": dilation}
    other = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(weight), **options)
    np.testing.assert_allclose(F.conv2d(x, weight, **options).numpy(), other, rtol=1e-12, atol=1e-12)


def test_a_network_of_convolutions_learns_what_pytorch_s_learns() -> None:
    torch = pytest.importorskip("torch")

    def make(library: Any) -> Any:
        return library.Sequential(
            library.Conv2d(1, 16, 3, padding=1),
            library.ReLU(),
            library.MaxPool2d(2),
            library.Conv2d(16, 8, 3, padding=1),
            library.ReLU(),
            library.MaxPool2d(2),
            library.Flatten(),
            library.Linear(32, 10),
        )

    torch.manual_seed(0)
    theirs = make(torch.nn).double()
    ours = make(nn).double()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    sides = (
        (ours, sn.optim.SGD(ours.parameters(), lr=0.1), nn.CrossEntropyLoss(), np.asarray),
        (theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), torch.nn.CrossEntropyLoss(), torch.tensor),
    )
    rng = np.random.default_rng(3)
    batches = [(rng.standard_normal((6, 1, 8, 8)), rng.integers(0, 10, 6)) for _ in range(4)]
    for model, optimizer, criterion, wrap in sides:
        for x, y in batches:
            loss = criterion(model(wrap(x)), wrap(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], value, rtol=1e-9, atol=1e-12)


def test_results_lie_with_their_channels_last_and_are_read_so_without_a_copy() -> None:
    y = nn.Conv2d(2, 5, 3, rng=0)(np.zeros((2, 2, 6, 7))).numpy()
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    pooled = nn.MaxPool2d(2)(sn.Tensor(y)).numpy()
    assert pooled.transpose(0, 2, 3, 1).flags.c_contiguous


def test_columns_take_a_tile_of_memory_and_not_the_whole_picture() -> None:
    import tracemalloc

    layer = nn.Conv2d(8, 8, 5, padding=2, rng=0)
    x = sn.Tensor(np.zeros((4, 8, 96, 96), np.float32))
    tracemalloc.start()
    layer(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The columns of all windows would be 25 times the input.
    assert peak < 2.5 * x.array.nbytes + 2 * columns.TILE


def test_a_seed_gives_the_same_layer_and_a_generator_moves_on() -> None:
    first, second = nn.Conv2d(1, 2, 3, rng=4), nn.Conv2d(1, 2, 3, rng=4)
    np.testing.assert_array_equal(first.weight.numpy(), second.weight.numpy())
    rng = np.random.default_rng(4)
    nn.Conv2d(1, 2, 3, rng=rng)
    assert not np.array_equal(nn.Conv2d(1, 2, 3, rng=rng).weight.numpy(), first.weight.numpy())


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (nn.Conv2d(8, 64, 5, groups=2, rng=0), 4 * 25),
        (nn.Conv1d(8, 64, 5, rng=0), 8 * 5),
        (nn.ConvTranspose2d(64, 8, 5, groups=2, rng=0), 4 * 25),
    ],
    ids=["Conv2d", "Conv1d", "ConvTranspose2d"],
)
def test_first_values_fill_the_range_that_pytorch_s_do(layer: Any, fan: int) -> None:
    largest = np.abs(layer.weight.numpy()).max() * np.sqrt(fan)
    assert 0.98 < largest <= 1
    assert np.abs(layer.bias.numpy()).max() * np.sqrt(fan) <= 1


def test_the_text_form_tells_the_arguments() -> None:
    assert repr(nn.Conv1d(2, 4, 3, stride=2, padding="valid", groups=2)) == (
        "Conv1d(2, 4, kernel_size=(3,), stride=(2,), padding='valid', dilation=(1,), groups=2, bias=True)"
    )
    assert "output_padding=(1, 1)" in repr(nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1))


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            nn.Conv2d(3, 4, 3),
            (2, 5, 8, 8),
            r"conv2d needs an input of shape \(batch, 3, height, width\).*\(4, 3, 3, 3\).*\(2, 5, 8, 8\)",
        ),
        (nn.Conv2d(3, 4, 3), (3, 8), r"conv2d needs an input of shape .*got shape \(3, 8\)"),
        (nn.Conv1d(3, 4, 3, groups=1), (2, 3, 8, 8), r"conv1d needs an input of shape \(batch, 3, length\)"),
        (
            nn.Conv2d(3, 4, 5),
            (2, 3, 4, 8),
            r"conv2d needs a padded input at least as large as its kernel of \(5, 5\).*\(2, 3, 4, 8\)",
        ),
        (
            nn.Conv1d(1, 1, 3, dilation=4, padding=1),
            (1, 1, 6),
            r"kernel of \(3,\) with dilation \(4,\).*\(1, 1, 6\)",
        ),
        (
            nn.ConvTranspose2d(3, 4, 3),
            (2, 4, 3, 3),
            r"conv_transpose2d needs an input of shape \(batch, 3, height, width\)",
        ),
        (
            nn.ConvTranspose1d(1, 1, 3, padding=4),
            (1, 1, 2),
            r"conv_transpose1d needs padding that leaves some",
        ),
        (
            nn.ConvTranspose1d(1, 1, 3, output_padding=1),
            (1, 1, 2),
            r"output_padding smaller than the stride or the dilation",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_an_error_with_both_shapes(
    layer: Any, shape: tuple[int, ...], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d needs in_channels and out_channels .* groups=2"),
        (lambda: nn.Conv2d(0, 4, 3), "in_channels and out_channels >= 1"),
        (
            lambda: nn.Conv2d(3, 4, 0),
            "Conv2d needs kernel_size to be one whole number or 2, each >= 1, got 0",
        ),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"kernel_size .*got \(3, 3, 3\)"),
        (lambda: nn.Conv2d(3, 4, 1.5), "kernel_size .*got 1.5"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride .*>= 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding .*>= 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding .*got 'full'"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="reflect"), "padding_mode 'zeros', got 'reflect'"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), "stride of 1 for padding='same'"),
    ],
)
def test_an_argument_that_makes_no_layer_is_an_error(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.zeros((1, 2, 5)), np.zeros((3, 2))), "conv1d needs a weight of 3 axes"),
        (
            (np.zeros((1, 2, 5)), np.zeros((3, 2, 2)), np.zeros(2)),
            r"conv1d needs a bias of shape \(3,\).*\(2,\)",
        ),
        ((np.zeros((1, 2, 5)), np.zeros((3, 1, 2)), None, 1, 0, 1, 2), "groups >= 1 that share"),
    ],
)
def test_a_weight_or_a_bias_that_does_not_fit_is_an_error(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        F.conv1d(*arguments)


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (nn.Flatten(2), (3, 4), r"Flatten needs start_dim in -2\.\.1, .* of shape \(3, 4\), got 2"),
        (nn.Flatten(2, 1), (3, 4, 5), "start_dim before end_dim"),
        (nn.Unflatten(1, (2, 3)), (3, 4), r"Unflatten needs sizes whose product .*\(3, 4\).*\(2, 3\)"),
        (nn.Unflatten(1, (3, -1)), (3, 4), "Unflatten needs sizes whose product"),
        (nn.Unflatten(-3, (2, 2)), (3, 4), r"Unflatten needs dim in -2\.\.1, .* of shape \(3, 4\), got -3"),
    ],
)
def test_a_shape_that_cannot_be_folded_so_is_an_error(layer: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        layer(np.zeros(shape))
