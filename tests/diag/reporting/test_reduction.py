"""Fewer points that show the same picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diag.reporting.reduction import blocks, envelope

lines = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6) | st.just(np.nan))
tables = arrays(
    np.float64,
    st.tuples(st.integers(1, 20), st.integers(1, 30)),
    elements=st.floats(-1e6, 1e6) | st.just(np.nan),
)


class TestEnvelope:
    @given(lines, st.integers(2, 50))
    def test_it_keeps_the_extremes_and_the_order(self, values, points):
        steps, kept = envelope(np.arange(len(values)), values, points)
        assert len(kept) <= max(points, 2)
        assert np.all(np.diff(steps) > 0)
        np.testing.assert_array_equal(kept, values[steps])
        if not np.isnan(values).all():
            assert np.nanmin(kept) == np.nanmin(values)
            assert np.nanmax(kept) == np.nanmax(values)

    def test_a_short_line_stays_as_it_is(self):
        values = np.array([3.0, np.nan, 1.0])
        np.testing.assert_array_equal(envelope(np.arange(3), values)[1], values)

    def test_a_bucket_without_a_number_leaves_a_gap(self):
        values = np.concatenate([np.ones(50), np.full(100, np.nan), np.ones(50)])
        _, kept = envelope(np.arange(200), values, 8)
        assert np.isnan(kept).any()


class TestBlocks:
    @given(tables, st.integers(1, 8), st.integers(1, 8), st.sampled_from(["maximum", "mean"]))
    def test_it_is_small_enough_and_within_the_range_of_the_values(self, values, rows, columns, reduce):
        reduced = blocks(values, rows, columns, reduce).values
        assert reduced.shape <= (rows, columns)
        assert np.isnan(reduced).all() == np.isnan(values).all()
        if not np.isnan(values).all():
            assert np.nanmin(values) - 1e-6 <= np.nanmin(reduced)
            assert np.nanmax(reduced) <= np.nanmax(values) + 1e-6

    @pytest.mark.parametrize(
        ("reduce", "expected"),
        [("maximum", [[4.0, 6.0], [np.nan, 9.0]]), ("mean", [[2.5, 6.0], [np.nan, 8.5]])],
    )
    def test_known_blocks(self, reduce, expected):
        table = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, np.nan], [np.nan, np.nan, 9.0], [np.nan, np.nan, 8.0]])
        reduced = blocks(table, 2, 2, reduce)
        np.testing.assert_array_equal(reduced.values, expected)
        assert (reduced.row_size, reduced.column_size) == (2, 2)

    def test_a_small_table_stays_as_it_is(self):
        table = np.arange(6.0).reshape(2, 3)
        np.testing.assert_array_equal(blocks(table, 10, 10, "mean").values, table)

    def test_an_infinity_is_a_maximum(self):
        assert blocks(np.array([[1.0, np.inf]]), 1, 1, "maximum").values == np.inf
