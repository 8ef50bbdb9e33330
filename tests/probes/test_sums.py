"""Sums over arrays: what was compiled, and what stands in for it in NumPy, give the numbers of a plain computation."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from probes import sums
from probes.sums import (
    IS_COMPILED,
    mark_firing,
    norms_of_copies,
    norms_of_differences,
    norms_on_host,
    sum_and_norm,
    summary_on_host,
)

pytestmark = pytest.mark.usefixtures("compiled_or_not")

ARRAYS = {
    "one piece": lambda rng: rng.standard_normal((30, 40)),
    "several pieces, and a rest": lambda rng: rng.standard_normal(200_003),
    "single precision": lambda rng: rng.standard_normal((300, 301)).astype(np.float32),
    "half precision": lambda rng: rng.standard_normal((30, 40)).astype(np.float16),
    "the other byte order": lambda rng: rng.standard_normal((30, 40)).astype(">f8"),
    "transposed": lambda rng: rng.standard_normal((300, 301)).T,
    "a part": lambda rng: rng.standard_normal((300, 301))[::2, ::3],
    "read only": lambda rng: np.broadcast_to(rng.standard_normal(30), (40, 30)),
    "squares above the range": lambda rng: rng.standard_normal(50) * 1e200,
    "squares below the range": lambda rng: rng.standard_normal(50) * 1e-200,
    "single precision, squares above": lambda rng: (
        rng.standard_normal(50).astype(np.float32) * np.float32(1e30)
    ),
    "single precision, squares below": lambda rng: (
        rng.standard_normal(50).astype(np.float32) * np.float32(1e-30)
    ),
    "zeros": lambda _: np.zeros((3, 4)),
    "one number": lambda _: np.array(3.0),
    "nothing": lambda _: np.empty((0, 3)),
    "integers": lambda rng: rng.integers(0, 9, 7),
}


@pytest.fixture(params=ARRAYS.values(), ids=list(ARRAYS))
def array(request, rng):
    return request.param(rng)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def norm_of(array):
    """In extended precision, whose range holds all squares; where there is none, scaled."""
    wide = array.astype(np.longdouble)
    scale = np.abs(wide).max(initial=0) or 1
    return float(scale * np.sqrt(((wide / scale) ** 2).sum()))


def test_sum_and_norm_are_those_of_all_entries(array):
    total, size = sum_and_norm(array)
    magnitude = float(np.abs(array.astype(np.longdouble)).sum())
    precision = 1e-6 if array.dtype == np.float32 else 1e-13
    assert total == pytest.approx(float(array.astype(np.longdouble).sum()), abs=precision * magnitude)
    assert size == pytest.approx(norm_of(array), rel=1e-6 if array.dtype == np.float32 else 1e-12)


def test_norms_are_those_of_each_array_whatever_stands_beside_it(array, rng):
    other = rng.standard_normal(5)
    assert norms_on_host([other, array]) == pytest.approx([norm_of(other), norm_of(array)], rel=1e-6)


def test_copies_are_written_and_their_norms_given(array, rng):
    other = rng.standard_normal(5)
    copies = [np.empty_like(other), np.full_like(array, 7)]
    assert norms_of_copies([other, array], copies) == pytest.approx(
        [norm_of(other), norm_of(array)], rel=1e-6
    )
    assert np.array_equal(copies[0], other)
    assert np.array_equal(copies[1], array)


def test_norms_of_differences_are_those_of_the_arrays_less_the_others(array, rng):
    other = (array * rng.random(array.shape)).astype(array.dtype)
    found = norms_of_differences([array, array], [other, array])
    assert found == pytest.approx([norm_of(array - other), 0.0], rel=1e-6)


def test_a_pair_in_two_orders_is_taken_entry_by_entry(rng):
    array = rng.standard_normal((30, 40))
    in_order = np.asfortranarray(array)
    copy = np.empty((40, 30)).T
    assert norms_of_differences([array], [in_order]) == [0.0]
    norms_of_copies([array], [copy])
    assert np.array_equal(copy, array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 3, 511, 1029])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_neither_lost_nor_invented(bad, place, dtype):
    array = np.ones(1030, dtype)
    array[place] = bad
    expected = [bad, abs(bad)]
    np.testing.assert_equal([float(number) for number in sum_and_norm(array)], expected)
    np.testing.assert_equal(norms_on_host([np.ones(3, dtype), array])[1:], expected[1:])
    np.testing.assert_equal(norms_of_differences([array], [np.zeros_like(array)]), expected[1:])
    limits = (math.nan, math.nan) if math.isnan(bad) else (min(bad, 1), max(bad, 1))
    np.testing.assert_equal(tuple(summary_on_host(array)), (*expected, *limits))


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int64]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=9),
        elements=st.sampled_from([0, 0, 0, 0, 0, 1, -1]),
    ),
    st.booleans(),
)
def test_a_unit_fires_where_any_example_and_position_of_it_is_not_zero(activation, is_transposed):
    seen = activation.T if is_transposed else activation
    expected = [bool(seen[:, unit].any()) for unit in range(seen.shape[1])]
    marks = np.arange(seen.shape[1])
    since = len(expected) // 2
    assert mark_firing(seen, marks, 99, since)[0] == sum(expected)
    assert marks.tolist() == [99 if fires else unit for unit, fires in enumerate(expected)]
    assert mark_firing(seen, marks, 99, since)[1] == (marks > since).sum()


def test_nan_fires_and_negative_zero_does_not():
    marks = np.zeros(3, np.int64)
    assert mark_firing(np.array([[math.nan, -0.0, 0.0]]), marks, 1) == (1, 1)
    assert marks.tolist() == [1, 0, 0]


def test_a_summary_has_the_limits_beside_the_sums(array):
    if array.size:
        found = summary_on_host(array)
        assert (found.sum, found.norm) == pytest.approx(sum_and_norm(array), rel=1e-12)
        assert (found.least, found.largest) == (array.min(), array.max())


@pytest.mark.skipif(not IS_COMPILED, reason="no compiler")
def test_what_is_compiled_turns_away_what_it_cannot_read():
    array, integers = np.ones((2, 3)), np.ones(3, int)
    calls = SimpleNamespace(
        integers=lambda: sums.compiled.sums(integers),
        a_part=lambda: sums.compiled.sums_of_squares([array[:, ::2]]),
        too_few=lambda: sums.compiled.copied([array], []),
        other_shapes=lambda: sums.compiled.moved([array], [array.T]),
        a_row=lambda: sums.compiled.mark_firing(integers.astype(float), np.empty(3, int), 1, 0),
        no_examples=lambda: sums.compiled.mark_firing(array[:0], np.empty(3, int), 1, 0),
        too_few_marks=lambda: sums.compiled.mark_firing(array, np.empty(2, int), 1, 0),
    )
    for name, call in vars(calls).items():
        with pytest.raises(BufferError):
            pytest.fail(f"{name}: {call()}")
