"""Initialisers: the stated distribution, exact laws, PyTorch's structures. Scaling by the data has its own file."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import scratchnet as sn
from scratchnet.nn import init

FAN_IN, FAN_OUT = 300, 200


def weight(*size: int, dtype: type = np.float32) -> sn.Tensor:
    return sn.Tensor(np.full(size or (FAN_OUT, FAN_IN), np.nan, dtype))


def uniform(std: float) -> Any:
    return stats.uniform(-std * math.sqrt(3), 2 * std * math.sqrt(3))


def truncated(mean: float, std: float, a: float, b: float) -> Any:
    return stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)


@dataclass
class Case:
    """One call, and the distribution (SciPy's) that its docstring promises; None where laws are exact."""

    id: str
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    promised: Any
    size: tuple[int, ...]

    def fill(self, tensor: sn.Tensor, rng: Any = 0) -> sn.Tensor:
        """Calls the initialiser."""
        seed = {} if self.name in FIXED else {"rng": rng}
        return getattr(init, self.name)(tensor, *self.arguments, **self.options, **seed)


FIXED = ("constant_", "ones_", "zeros_", "eye_", "dirac_")


def case(
    name: str,
    *arguments: Any,
    law: Any = None,
    size: tuple[int, ...] = (FAN_OUT, FAN_IN),
    note: str = "",
    **options: Any,
) -> Case:
    return Case(f"{name}{', ' + note if note else ''}", name, arguments, options, law, size)


RELU, LEAKY, XAVIER = math.sqrt(2), math.sqrt(2 / (1 + 0.2**2)), math.sqrt(2 / (FAN_IN + FAN_OUT))
KERNEL = (60, 20, 5, 7)
CASES = [
    case("uniform_", law=stats.uniform()),
    case("uniform_", -0.5, 0.7, law=stats.uniform(-0.5, 1.2), note="bounds"),
    case("normal_", law=stats.norm()),
    case("normal_", 2.0, 0.3, law=stats.norm(2.0, 0.3), note="moments"),
    case("trunc_normal_", law=truncated(0, 1, -2, 2)),
    case("trunc_normal_", std=0.02, law=truncated(0, 0.02, -2, 2), note="as transformers do"),
    case("trunc_normal_", 1.0, 2.0, 0.0, 0.5, law=truncated(1, 2, 0, 0.5), note="narrow"),
    case("trunc_normal_", a=3.0, b=4.0, law=truncated(0, 1, 3, 4), note="upper tail"),
    case("trunc_normal_", 5.0, 0.1, 0.0, 1.0, law=truncated(5, 0.1, 0, 1), note="forty deviations below"),
    case("trunc_normal_", -5.0, 0.1, 0.0, 1.0, law=truncated(-5, 0.1, 0, 1), note="fifty above"),
    case("trunc_normal_", a=-math.inf, b=0.0, law=truncated(0, 1, -math.inf, 0), note="one side open"),
    case("xavier_uniform_", law=uniform(XAVIER)),
    case("xavier_uniform_", 3.0, law=uniform(3 * XAVIER), note="gain"),
    case("xavier_uniform_", law=uniform(math.sqrt(2 / (80 * 35))), size=KERNEL, note="kernel"),
    case("xavier_normal_", 0.5, law=stats.norm(0, 0.5 * XAVIER), note="gain"),
    case("xavier_normal_", law=stats.norm(0, math.sqrt(2 / (80 * 35))), size=KERNEL, note="kernel"),
    case("kaiming_uniform_", law=uniform(RELU / math.sqrt(FAN_IN))),
    case("kaiming_uniform_", 0.2, law=uniform(LEAKY / math.sqrt(FAN_IN)), note="leaky"),
    case(
        "kaiming_uniform_",
        mode="fan_out",
        nonlinearity="relu",
        law=uniform(RELU / math.sqrt(FAN_OUT)),
        note="fan out",
    ),
    case("kaiming_normal_", law=stats.norm(0, RELU / math.sqrt(FAN_IN))),
    case("kaiming_normal_", nonlinearity="tanh", law=stats.norm(0, 5 / 3 / math.sqrt(FAN_IN)), note="tanh"),
    case("kaiming_normal_", nonlinearity="selu", law=stats.norm(0, 0.75 / math.sqrt(FAN_IN)), note="SELU"),
    case("kaiming_normal_", mode="fan_out", law=stats.norm(0, RELU / math.sqrt(60 * 35)), size=KERNEL),
    case("sparse_", 0.1),
    case("orthogonal_"),
    case("constant_", 0.25),
    case("ones_"),
    case("zeros_"),
    case("eye_"),
    case("dirac_", size=(6, 4, 3)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
drawn = pytest.mark.parametrize(
    "case", [case for case in CASES if case.promised is not None], ids=lambda case: case.id
)


# ------------------------------------------------------------------------------------ every initialiser


def test_every_initialiser_has_a_case() -> None:
    fills = {name for name in vars(init) if name.endswith("_") and not name.startswith("_")}
    assert {case.name for case in CASES} == fills - {"lsuv_"}


def test_no_initialiser_of_pytorch_s_is_missing() -> None:
    theirs = pytest.importorskip("torch.nn.init")
    names = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    assert names <= set(vars(init))


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_array_is_filled_in_place_and_keeps_its_dtype(case: Case, dtype: type) -> None:
    tensor = weight(*case.size, dtype=dtype)
    array = tensor.array
    assert case.fill(tensor) is tensor
    assert tensor.array is array
    assert array.dtype == dtype
    assert np.isfinite(array).all()


@every_case
def test_a_seed_gives_the_same_values_in_either_precision(case: Case) -> None:
    single, double = (
        case.fill(weight(*case.size, dtype=dtype)).numpy() for dtype in (np.float32, np.float64)
    )
    np.testing.assert_array_equal(single, double.astype(np.float32))


@every_case
def test_a_generator_goes_on_and_a_fixed_structure_does_not(case: Case) -> None:
    generator = np.random.default_rng(5)
    first, second = (case.fill(weight(*case.size), rng=generator).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, case.fill(weight(*case.size), rng=5).numpy())
    assert np.array_equal(first, second) == (case.name in FIXED)


@drawn
def test_the_numbers_follow_the_promised_distribution(case: Case) -> None:
    values = case.fill(weight(*case.size, dtype=np.float64)).numpy().ravel()
    # The seed is fixed, so this holds in every run or in none.
    assert stats.kstest(values, case.promised.cdf).pvalue > 0.01


@drawn
def test_the_moments_are_the_closed_form_s(case: Case) -> None:
    values = case.fill(weight(*case.size, dtype=np.float64)).numpy().ravel()
    mean, variance = (float(moment) for moment in case.promised.stats("mv"))
    assert abs(values.mean() - mean) < 4 * math.sqrt(variance / values.size)
    assert values.std() == pytest.approx(math.sqrt(variance), rel=0.02)


@drawn
def test_no_number_leaves_the_support(case: Case) -> None:
    array = case.fill(weight(*case.size)).numpy()
    low, high = (np.float32(bound) for bound in case.promised.support())
    assert low <= array.min()
    assert array.max() <= high


@pytest.mark.parametrize("name", ["normal_", "uniform_", "trunc_normal_", "orthogonal_", "xavier_normal_"])
def test_an_empty_tensor_stays_empty(name: str) -> None:
    assert getattr(init, name)(weight(0, 3), rng=0).shape == (0, 3)
    assert init.kaiming_normal_(weight(3, 0), rng=0).shape == (3, 0)


# ------------------------------------------------------------------------------------------- exact laws


sides = st.integers(1, 12)


@given(sides, sides, st.floats(0.1, 10), st.integers(0, 99))
def test_an_orthogonal_weight_has_orthogonal_rows_or_columns(
    rows: int, columns: int, gain: float, seed: int
) -> None:
    w = init.orthogonal_(weight(rows, columns, dtype=np.float64), gain, rng=seed).numpy()
    gram = w @ w.T if rows <= columns else w.T @ w
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(rows, columns)), rtol=0, atol=1e-12 * gain**2)


def test_the_space_of_a_kernel_counts_as_its_inputs() -> None:
    w = init.orthogonal_(weight(5, 2, 2, 3, dtype=np.float64), rng=0).numpy().reshape(5, 12)
    np.testing.assert_allclose(w @ w.T, np.eye(5), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 2), (2, 5)], ids=["square", "tall", "wide"])
def test_an_orthogonal_weight_is_uniform_over_all_of_them(rows: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    draws = [
        init.orthogonal_(weight(rows, columns, dtype=np.float64), rng=generator).numpy() for _ in range(2000)
    ]
    # A coordinate of a point that is uniform on the sphere in n dimensions, halved and shifted.
    half = (max(rows, columns) - 1) / 2
    for position in ((0, 0), (1, 1), (1, 0)):
        entries = np.array([draw[position] for draw in draws])
        assert stats.kstest((entries + 1) / 2, stats.beta(half, half).cdf).pvalue > 0.01
    if rows == columns:
        assert np.mean([np.linalg.det(draw) > 0 for draw in draws]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("sparsity", "zeros"), [(0.0, 0), (0.1, 1), (0.25, 3), (0.3, 3), (1.0, 10)])
def test_every_column_of_a_sparse_weight_has_the_same_count_of_zeros(sparsity: float, zeros: int) -> None:
    array = init.sparse_(weight(10, 4000), sparsity, std=0.3, rng=0).numpy()
    assert np.all((array == 0).sum(axis=0) == zeros)
    if zeros < 10:
        assert stats.kstest(array[array != 0], stats.norm(0, 0.3).cdf).pvalue > 0.01
    # No row is spared: each is zero as often as the others, within five deviations.
    deviation = math.sqrt(4000 * (zeros / 10) * (1 - zeros / 10))
    np.testing.assert_allclose((array == 0).sum(axis=1), 400 * zeros, atol=5 * deviation)


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.7])
def test_pytorch_rounds_the_count_of_zeros_in_the_same_way(sparsity: float) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.sparse_(torch.empty(10, 30), sparsity).numpy()
    ours = init.sparse_(weight(10, 30), sparsity, rng=0).numpy()
    np.testing.assert_array_equal((ours == 0).sum(axis=0), (theirs == 0).sum(axis=0))


def test_constants_fill_every_element() -> None:
    assert np.all(init.constant_(weight(2, 3), 0.25).numpy() == 0.25)
    assert np.all(init.ones_(weight(3)).numpy() == 1)
    assert np.all(init.zeros_(weight(3)).numpy() == 0)


@pytest.mark.parametrize("size", [(4, 4), (2, 5), (5, 2)])
def test_the_identity_is_pytorch_s(size: tuple[int, int]) -> None:
    np.testing.assert_array_equal(init.eye_(weight(*size)).numpy(), np.eye(*size))
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(init.eye_(weight(*size)).numpy(), torch.nn.init.eye_(torch.empty(size)))


@pytest.mark.parametrize(
    ("size", "groups"),
    [
        ((3, 3, 3), 1),
        ((6, 2, 5), 3),
        ((6, 4, 2), 2),
        ((4, 7, 3, 4), 1),
        ((8, 2, 3, 3), 4),
        ((2, 2, 1, 2, 3), 1),
    ],
)
def test_the_impulse_is_pytorch_s(size: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.empty(size), groups).numpy()
    np.testing.assert_array_equal(init.dirac_(weight(*size), groups).numpy(), theirs)


def test_an_impulse_hands_each_channel_on_once() -> None:
    array = init.dirac_(weight(4, 4, 3, 3)).numpy()
    np.testing.assert_array_equal(array[:, :, 1, 1], np.eye(4))
    assert array.sum() == 4


GAINS = ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
GAINS += ["sigmoid", "tanh", "relu", "leaky_relu", "selu"]


@pytest.mark.parametrize("param", [None, 0.5, 2])
@pytest.mark.parametrize("nonlinearity", GAINS)
def test_gains_are_pytorch_s(nonlinearity: Any, param: float | None) -> None:
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.calculate_gain(nonlinearity, param)
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),
    [
        ("conv_transpose2d", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / (1 + 0.01**2))),
        ("leaky_relu", 0.5, math.sqrt(1.6)),
        ("selu", None, 0.75),
    ],
)
def test_gains_are_known(nonlinearity: Any, param: float | None, gain: float) -> None:
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-15)


# --------------------------------------------------------------------------------------------- errors


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown nonlinearity": (
        lambda: init.calculate_gain("swish"),  # type: ignore[arg-type]
        "calculate_gain needs one of linear, conv1d, .*, selu, got 'swish'",
    ),
    "a slope that is no number": (
        lambda: init.calculate_gain("leaky_relu", True),
        "needs a number as the negative slope, got True",
    ),
    "a fan of a bias": (
        lambda: init.xavier_uniform_(weight(3)),
        r"at least two axes \(outputs, inputs\), got shape \(3,\); use uniform_ or zeros_ for a bias",
    ),
    "an unknown mode": (
        lambda: init.kaiming_normal_(weight(), mode="fan_avg"),  # type: ignore[arg-type]
        "needs mode 'fan_in' or 'fan_out', got 'fan_avg'",
    ),
    "bounds the wrong way round": (
        lambda: init.trunc_normal_(weight(3), a=1.0, b=-1.0),
        "needs std > 0 and a < b, got std=1.0, a=1.0 and b=-1.0",
    ),
    "no deviation": (lambda: init.trunc_normal_(weight(3), std=0.0), "needs std > 0 and a < b, got std=0.0"),
    "an orthogonal bias": (
        lambda: init.orthogonal_(weight(3)),
        r"orthogonal_ needs at least two axes, got shape \(3,\)",
    ),
    "a sparse kernel": (
        lambda: init.sparse_(weight(3, 3, 3), 0.5),
        r"sparse_ needs two axes \(outputs, inputs\), got shape \(3, 3, 3\)",
    ),
    "more zeros than elements": (
        lambda: init.sparse_(weight(3, 3), 1.5),
        r"sparse_ needs sparsity in \[0, 1\], got 1.5",
    ),
    "the identity of a bias": (lambda: init.eye_(weight(3)), r"eye_ needs two axes .*, got shape \(3,\)"),
    "an impulse of a matrix": (
        lambda: init.dirac_(weight(3, 3)),
        r"three to five axes, got shape \(3, 3\); use eye_ for a linear layer",
    ),
    "groups that do not divide": (
        lambda: init.dirac_(weight(4, 4, 3), groups=3),
        "needs outputs that divide into groups, got 4 and groups=3",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_filled_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
