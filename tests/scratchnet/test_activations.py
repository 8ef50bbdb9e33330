"""Nonlinearities: their values at the kinks and far out, and the paths that the tables do not take."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.ops import activation
from scratchnet.tape import Array

NAMES = """celu elu gelu hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 selu sigmoid
    silu softplus softsign tanh"""
ELEMENTWISE: dict[str, Callable[[Any], Any]] = {name: getattr(F, name) for name in NAMES.split()} | {
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "celu_half": lambda x: F.celu(x, 0.5),
}
every_function = pytest.mark.parametrize("name", ELEMENTWISE)


def of_torch(name: str, x: Array) -> tuple[Array, Array]:
    """Value and slope in PyTorch."""
    torch = pytest.importorskip("torch")
    known = {
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "celu_half": lambda x: torch.nn.functional.celu(x, 0.5),
    }
    leaf = torch.tensor(x, requires_grad=True)
    y = (known.get(name) or getattr(torch.nn.functional, name))(leaf)
    y.sum().backward()
    return y.detach().numpy(), leaf.grad.numpy()


def of_ours(name: str, x: Array) -> tuple[Array, Array]:
    leaf = sn.Tensor(x, requires_grad=True)
    y = ELEMENTWISE[name](leaf)
    y.sum().backward()
    assert leaf.grad is not None
    return y.numpy(), leaf.grad.numpy()


@every_function
def test_value_and_slope_at_the_kinks_are_those_of_pytorch(name: str) -> None:
    x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
    for mine, other in zip(of_ours(name, x), of_torch(name, x), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-12)


@every_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_nothing_overflows_and_nothing_warns(name: str, dtype: Any) -> None:
    x = np.array([-1e4, -700.0, -90.0, -20.0, 20.0, 90.0, 700.0, 1e4], dtype)
    leaf = sn.Tensor(x, requires_grad=True)
    (slope,) = sn.grad(ELEMENTWISE[name](leaf).sum(), [leaf], create_graph=True)
    (curvature,) = sn.grad((slope * slope).sum() + (leaf * 0.0).sum(), [leaf])
    for mine, other in zip(of_ours(name, x), of_torch(name, x), strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    assert np.isfinite(curvature.numpy()).all()
    np.testing.assert_allclose(slope.numpy(), of_ours(name, x)[1], rtol=1e-5, atol=1e-7)


@every_function
def test_an_empty_array_gives_an_empty_one(name: str) -> None:
    assert [array.shape for array in of_ours(name, np.ones((0, 3)))] == [(0, 3)] * 2


# ------------------------------------------------------------------------------- kernels in pieces

SMOOTH = ("gelu", "gelu_tanh", "silu", "mish")


@pytest.mark.parametrize("name", SMOOTH)
def test_several_pieces_give_what_one_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((7, 5))
    whole = of_ours(name, x)
    monkeypatch.setattr(activation, "PIECE", 8)
    for mine, expected in zip(of_ours(name, x), whole, strict=True):
        np.testing.assert_array_equal(mine, expected)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[:, ::-1],
    "every other": lambda x: x[::2, :, 1:],
    "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "column-major": np.asfortranarray,
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_in_memory_does_not_matter(
    name: str, layout: Callable[[Array], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "PIECE", 8)
    x = layout(np.random.default_rng(0).standard_normal((4, 3, 5)))
    for mine, expected in zip(of_ours(name, x), of_ours(name, x.copy(order="C")), strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("name", [*SMOOTH, "hardswish"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluation_gives_the_recorded_value_to_the_last_bit(
    name: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "PIECE", 8)
    x: Array = np.asfortranarray(np.random.default_rng(0).normal(0, 4, (7, 5)).astype(dtype))
    with sn.no_grad():
        y = ELEMENTWISE[name](x).numpy()
    np.testing.assert_array_equal(y, of_ours(name, x)[0])
    assert y.strides == x.strides


@pytest.mark.parametrize("name", [*SMOOTH, "hardswish"])
def test_evaluation_has_no_room_for_slopes(name: str) -> None:
    x = np.ones(10 * activation.PIECE, np.float32)
    tracemalloc.start()
    ELEMENTWISE[name](x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * x.nbytes


def test_gelu_in_single_precision_is_as_close_as_its_numbers_are() -> None:
    x = np.linspace(-9, 9, 100_001, dtype=np.float32)
    y, slope = of_ours("gelu", x)
    exact = x.astype(float)
    cdf, density = special.ndtr(exact), np.exp(-exact * exact / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(y, exact * cdf, rtol=2e-7, atol=6e-7)
    np.testing.assert_allclose(slope, cdf + exact * density, rtol=2e-7, atol=4e-7)


# ------------------------------------------------------------------------------------ known answers


def test_a_gated_unit_with_an_open_gate_is_its_left_half() -> None:
    x = np.concatenate([np.arange(3.0), np.full(3, 50.0)])
    np.testing.assert_allclose(F.glu(x).numpy(), np.arange(3.0), rtol=1e-15)


def test_softmin_is_softmax_of_the_negative() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(nn.Softmin(dim=0)(x).numpy(), nn.Softmax(dim=0)(-x).numpy())


def test_selu_keeps_mean_0_and_variance_1_of_normal_numbers() -> None:
    # Its defining property: a fixed point of the moments.
    points, weights = np.polynomial.hermite_e.hermegauss(120)
    y = F.selu(points).numpy()
    mean = (weights * y).sum() / weights.sum()
    variance = (weights * y**2).sum() / weights.sum() - mean**2
    assert mean == pytest.approx(0, abs=5e-3)
    assert variance == pytest.approx(1, abs=5e-3)


def test_a_swiglu_has_three_maps_that_start_apart() -> None:
    block = nn.SwiGLU(4, 8, rng=0)
    assert list(block.state_dict()) == ["gate_proj.weight", "up_proj.weight", "down_proj.weight"]
    assert not np.array_equal(block.gate_proj.weight.numpy(), block.up_proj.weight.numpy())
    again = nn.SwiGLU(4, 8, rng=0)
    np.testing.assert_array_equal(block.down_proj.weight.numpy(), again.down_proj.weight.numpy())


@pytest.mark.parametrize("name", ["LeakyReLU", "Softplus", "ELU", "CELU", "AlphaDropout"])
def test_an_argument_of_float64_does_not_widen_float32(name: str) -> None:
    # What a sweep over np.linspace gives: NumPy takes its own float64, unlike Python's float, for wider data.
    layer = getattr(nn, name)(np.float64(0.5))
    assert layer(np.ones((2, 3), np.float32)).dtype == np.float32


def test_plain_data_takes_the_dtype_of_the_slopes() -> None:
    assert nn.PReLU()(np.ones((2, 3))).dtype == np.float32


REPRESENTATIONS = {
    "GELU(approximate='tanh')": nn.GELU("tanh"),
    "LeakyReLU(negative_slope=0.2)": nn.LeakyReLU(0.2),
    "Softplus(beta=2, threshold=20.0)": nn.Softplus(2),
    "PReLU(num_parameters=3)": nn.PReLU(3),
    "SiLU()": nn.SiLU(),
}


@pytest.mark.parametrize(("text", "layer"), REPRESENTATIONS.items(), ids=REPRESENTATIONS)
def test_a_layer_names_its_arguments(text: str, layer: nn.Module) -> None:
    assert repr(layer) == text


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown approximation": (
        lambda: F.gelu(np.ones(2), "exact"),  # type: ignore[arg-type]
        "gelu needs approximate 'none' or 'tanh', got 'exact'",
    ),
    "bounds upside down": (
        lambda: nn.Hardtanh(1.0, -1.0)(np.ones(2)),
        r"hardtanh needs min_val <= max_val, got 1\.0 and -1\.0",
    ),
    "a celu without alpha": (lambda: F.celu(np.ones(2), 0.0), "celu needs alpha other than 0"),
    "an odd axis to halve": (
        lambda: F.glu(np.ones((2, 3))),
        r"glu needs an even size along dim=-1, got an input of shape \(2, 3\)",
    ),
    "slopes for other channels": (
        lambda: nn.PReLU(4)(np.ones((2, 3))),
        r"prelu needs a slope for each channel of axis 1, or one for all: got slopes of shape \(4,\) for an "
        r"input of shape \(2, 3\)",
    ),
    "no features": (lambda: nn.Bilinear(2, 0, 1), "Bilinear needs in2_features >= 1, got 0"),
    "inputs that do not pair": (
        lambda: nn.Bilinear(2, 3, 1, rng=0)(np.ones((4, 2)), np.ones((5, 3))),
        r"bilinear needs inputs of shapes \(\.\.\., 2\) and \(\.\.\., 3\) .* got \(4, 2\) and \(5, 3\)",
    ),
}


ALONG_AN_AXIS: dict[str, Callable[[Any, int], Any]] = {
    "softmax": lambda x, dim: nn.Softmax(dim)(x),
    "softmin": lambda x, dim: nn.Softmin(dim)(x),
    "log_softmax": lambda x, dim: nn.LogSoftmax(dim)(x),
    "glu": lambda x, dim: nn.GLU(dim)(x),
    "normalize": lambda x, dim: F.normalize(x, dim=dim),
    "cosine_similarity": lambda x, dim: F.cosine_similarity(x, x, dim),
}


@pytest.mark.parametrize("error", [IndexError, ValueError], ids=["as in PyTorch", "as all that is refused"])
@pytest.mark.parametrize("dim", [2, -3])
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_an_axis_that_is_not_there_is_refused(name: str, dim: int, error: type[Exception]) -> None:
    message = rf"{name} needs dim in -2\.\.1, .* of shape \(4, 6\), got {dim}; -1 is the last axis"
    with pytest.raises(error, match=message):
        ALONG_AN_AXIS[name](np.ones((4, 6)), dim)


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax", "glu"])
def test_integers_have_no_share_of_one(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} needs an input of floats, got int64; .*astype\(float\)"):
        getattr(F, name)(np.array([1, 2]))


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
@pytest.mark.parametrize(("shape", "dim"), [((), 0), ((), -1), ((0, 3), 0), ((3, 0), 1), ((0, 3), 1)])
def test_nothing_and_a_number_have_shares_too(name: str, shape: tuple[int, ...], dim: int) -> None:
    torch = pytest.importorskip("torch")
    leaf = sn.Tensor(np.ones(shape), requires_grad=True)
    y = getattr(F, name)(leaf, dim)
    y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), getattr(torch.nn.functional, name)(torch.ones(shape), dim))
    assert np.asarray(leaf.grad).shape == shape


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
