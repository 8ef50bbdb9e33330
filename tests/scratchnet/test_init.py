"""Initialisers: bounds, moments, fans, seeds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import scratchnet as sn
from scratchnet.nn import init

FAN_IN, FAN_OUT = 300, 200


def weight(*size: int) -> sn.Tensor:
    return sn.Tensor(np.full(size or (FAN_OUT, FAN_IN), np.nan, np.float32))


RELU, LEAKY = math.sqrt(2), math.sqrt(2 / (1 + 0.2**2))

# What a draw fills, and the standard deviation that its docstring promises.
UNIFORM: dict[str, tuple[Callable[[sn.Tensor], Any], float]] = {
    "uniform": (lambda w: init.uniform_(w, -0.5, 0.5, rng=0), 0.5 / math.sqrt(3)),
    "xavier": (lambda w: init.xavier_uniform_(w, rng=0), math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "xavier, gain 3": (lambda w: init.xavier_uniform_(w, 3.0, rng=0), 3 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "kaiming": (lambda w: init.kaiming_uniform_(w, rng=0), RELU / math.sqrt(FAN_IN)),
    "kaiming, leaky": (lambda w: init.kaiming_uniform_(w, a=0.2, rng=0), LEAKY / math.sqrt(FAN_IN)),
    "kaiming, fan out": (
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu", rng=0),
        RELU / math.sqrt(FAN_OUT),
    ),
}
NORMAL: dict[str, tuple[Callable[[sn.Tensor], Any], float]] = {
    "normal": (lambda w: init.normal_(w, 0.0, 0.3, rng=0), 0.3),
    "xavier": (lambda w: init.xavier_normal_(w, 0.5, rng=0), 0.5 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "kaiming": (lambda w: init.kaiming_normal_(w, rng=0), RELU / math.sqrt(FAN_IN)),
    "kaiming, tanh": (
        lambda w: init.kaiming_normal_(w, nonlinearity="tanh", rng=0),
        5 / 3 / math.sqrt(FAN_IN),
    ),
    "kaiming, fan out": (
        lambda w: init.kaiming_normal_(w, mode="fan_out", rng=0),
        RELU / math.sqrt(FAN_OUT),
    ),
}


@pytest.mark.parametrize(("fill", "std"), UNIFORM.values(), ids=UNIFORM)
def test_uniform_initialisers_fill_the_range_of_the_promised_deviation(
    fill: Callable[[sn.Tensor], Any], std: float
) -> None:
    tensor = weight()
    assert fill(tensor) is tensor
    bound = std * math.sqrt(3)
    assert np.abs(tensor.numpy()).max() <= np.float32(bound)
    # The generator is seeded, so this holds in every run or in none.
    assert stats.kstest(tensor.numpy().ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


@pytest.mark.parametrize(("fill", "std"), NORMAL.values(), ids=NORMAL)
def test_normal_initialisers_have_the_promised_deviation(
    fill: Callable[[sn.Tensor], Any], std: float
) -> None:
    tensor = weight()
    assert fill(tensor) is tensor
    assert stats.kstest(tensor.numpy().ravel(), stats.norm(0, std).cdf).pvalue > 0.01


def test_the_space_of_a_kernel_counts_in_both_fans() -> None:
    kernel = init.kaiming_normal_(weight(100, 50, 3, 3), rng=0)
    assert kernel.numpy().std() == pytest.approx(math.sqrt(2 / (50 * 9)), rel=0.02)
    kernel = init.xavier_normal_(weight(100, 50, 3, 3), rng=0)
    assert kernel.numpy().std() == pytest.approx(math.sqrt(2 / (150 * 9)), rel=0.02)


def test_constants_fill_every_element() -> None:
    assert np.all(init.constant_(weight(2, 3), 0.25).numpy() == 0.25)
    assert not init.zeros_(weight(3)).numpy().any()


def test_the_array_is_filled_in_place_and_keeps_its_dtype() -> None:
    tensor = weight(4, 4)
    array = tensor.array
    init.xavier_normal_(tensor, rng=0)
    assert tensor.array is array
    assert array.dtype == np.float32


def test_the_same_seed_gives_the_same_values_and_a_generator_goes_on() -> None:
    generator = np.random.default_rng(5)
    first, second = (init.normal_(weight(8), rng=generator).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, init.normal_(weight(8), rng=5).numpy())
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),
    [
        ("linear", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / (1 + 0.01**2))),
        ("leaky_relu", 0.5, math.sqrt(1.6)),
    ],
)
def test_gains_are_pytorch_s(nonlinearity: Any, param: float | None, gain: float) -> None:
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-15)


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown nonlinearity": (
        lambda: init.calculate_gain("swish"),  # type: ignore[arg-type]
        "calculate_gain needs one of linear, sigmoid, tanh, relu, leaky_relu, got 'swish'",
    ),
    "a fan of a bias": (
        lambda: init.xavier_uniform_(weight(3)),
        r"at least two axes \(outputs, inputs\), got shape \(3,\); use uniform_ or zeros_ for a bias",
    ),
    "an unknown mode": (
        lambda: init.kaiming_normal_(weight(), mode="fan_avg"),  # type: ignore[arg-type]
        "needs mode 'fan_in' or 'fan_out', got 'fan_avg'",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_has_no_fan_mode_or_gain_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
