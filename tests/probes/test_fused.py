"""Several measures in one go: each number is the one that its own probe gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import probes
from probes.fused import (
    combined_norms,
    gradient_norm_ratios,
    moments,
    norms_and_non_finite_counts,
)

pytestmark = pytest.mark.usefixtures("compiled_or_not")

ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int64]),
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=40),
    elements=st.sampled_from([0, 1, -3, 100]),
)


@given(ARRAYS)
def test_moments_are_those_of_the_probes_one_by_one(array):
    wide = array.astype(np.float64)
    expected = probes.activation_mean(wide), probes.activation_rms(wide), 0
    assert [float(number) for number in moments(array)] == pytest.approx(
        list(map(float, expected)), rel=1e-12
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_moments_say_where_something_is_not_finite(bad):
    array = np.ones((40, 60), np.float32)
    array[3, 5] = bad
    mean, rms, count = moments(array)
    np.testing.assert_equal([float(mean), float(rms)], [bad, abs(bad)])
    assert count == 1


def test_moments_of_a_view_are_those_of_its_copy():
    view = np.arange(6000.0).reshape(60, 100)[::2, ::3]
    assert list(map(float, moments(view))) == pytest.approx(list(map(float, moments(view.copy()))), rel=1e-12)


def test_moments_of_nothing_are_refused():
    with pytest.raises(ValueError, match="needs at least one example and one unit"):
        moments(np.empty((0, 3)))


def test_norms_and_counts_stand_side_by_side():
    found = norms_and_non_finite_counts([np.array([3.0, 4.0]), np.array([np.nan, np.inf, 0.0])])
    np.testing.assert_equal(np.array(found, float), [5.0, np.nan, 0, 2])


def test_tensors_on_the_host_give_the_same_numbers():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((30, 70))
    tensor = torch.asarray(array)
    assert list(map(float, moments(tensor))) == pytest.approx(list(map(float, moments(array))), rel=1e-12)
    norm, count = (float(number) for number in norms_and_non_finite_counts([tensor]))
    assert norm == pytest.approx(np.linalg.norm(array), rel=1e-12)
    assert count == 0


@given(
    st.lists(
        st.lists(st.floats(0, allow_nan=False) | st.sampled_from([1e-200, 1e200, np.nan]), min_size=1),
        min_size=1,
    )
)
def test_norms_of_groups_are_those_of_each_group(groups):
    norms = np.array([norm for group in groups for norm in group])
    starts = np.cumsum([0, *map(len, groups[:-1])]).tolist()
    expected = np.array([float(probes.combined_norm(np.array(group))) for group in groups])
    found = combined_norms(np.array([norms, np.ones_like(norms)]), starts)
    np.testing.assert_allclose(found, [expected, np.sqrt(list(map(len, groups)))], rtol=1e-12)


@pytest.mark.parametrize("row", [[0.5, 7.0, 2.0], [1.0, 0.0], [0.0, 0.0], [np.nan, 1.0]], ids=str)
def test_ratios_of_rows_are_those_of_each_row(row):
    found = gradient_norm_ratios(np.array([row, row[::-1]]))
    expected = [probes.gradient_norm_ratio(np.array(each)) for each in (row, row[::-1])]
    np.testing.assert_equal(found.tolist(), list(map(float, expected)))
