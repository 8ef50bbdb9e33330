"""Summaries: four numbers of any array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import probes

pytestmark = pytest.mark.usefixtures("compiled_or_not")


def test_a_known_summary():
    assert [float(number) for number in probes.summary(np.array([[1, 2], [3, 6]]))] == [
        3.0,
        np.sqrt(3.5),
        1.0,
        6.0,
    ]


@given(arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6)))
def test_the_mean_lies_between_the_ends(array):
    mean, std, least, largest = map(float, probes.summary(array))
    slack = 1e-9 * (1 + abs(mean))
    assert least - slack <= mean <= largest + slack
    assert 0 <= std <= largest - least + slack


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_what_is_not_finite_carries_through_without_a_warning(bad):
    assert not np.isfinite(probes.summary(np.array([0.0, bad])).mean)


def test_half_precision_and_views_are_summarised():
    assert float(probes.summary(np.arange(10, dtype=np.float16)[::2]).max) == 8.0


def test_many_numbers_in_half_precision_do_not_overflow_on_the_way():
    mean, std, *_ = map(float, probes.summary(np.ones((128, 784), np.float16)))
    assert (mean, std) == (1.0, 0.0)


@pytest.mark.parametrize("offset", [0.0, 0.5, 30.0], ids=["around_zero", "as_far_off_as_wide", "far_off"])
def test_the_deviation_is_that_of_numpy_wherever_the_mean_lies(offset):
    array = np.random.default_rng(0).standard_normal((60, 70)) + offset
    assert float(probes.summary(array).std) == pytest.approx(array.std(), rel=1e-12)


def test_numbers_whose_squares_leave_the_range_are_summarised():
    mean, std, least, largest = map(float, probes.summary(np.array([1e200, -1e200])))
    assert (mean, least, largest) == (0.0, -1e200, 1e200)
    assert std == pytest.approx(1e200)


def test_torch_gives_the_same_numbers():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((5, 7))
    assert np.allclose(
        [float(n) for n in probes.summary(torch.tensor(array))],
        [float(n) for n in probes.summary(array)],
        rtol=1e-12,
    )


def test_nothing_has_no_summary():
    with pytest.raises(ValueError, match=r"summary needs at least one entry, got shape \(0, 3\)"):
        probes.summary(np.empty((0, 3)))
