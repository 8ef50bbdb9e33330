"""Numbers, times and names as a person reads them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.reporting.words import count, duration, enumeration, moment, number, shortened


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.5, "−0.5"),
        (0.001, "0.001"),
        (0.00012345, "1.23×10⁻⁴"),
        (1e-7, "10⁻⁷"),
        (-1e-7, "−10⁻⁷"),
        (9.999, "10"),
        (123_456.0, "123,456"),
        (2.5e6, "2.5×10⁶"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "–"),
    ],
    ids=str,
)
def test_a_number_has_three_significant_digits(value, text):
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_short_and_keeps_its_sign(value):
    text = number(value)
    assert len(text) <= 12
    assert text.startswith("−") <= (value < 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (59.4, "59.4 s"), (60.0, "1 min"), (3_725.0, "1 h 2 min"), (math.nan, "unknown")],
    ids=str,
)
def test_a_duration_has_at_most_two_units(seconds, text):
    assert duration(seconds) == text


def test_a_moment_names_its_zone_where_it_has_one():
    assert moment("2026-01-02T03:04:05") == "2 January 2026, 03:04"
    assert moment("2026-01-02T03:04:05+00:00") == "2 January 2026, 03:04 UTC"


def test_counts_and_lists_read_as_english():
    assert count(1, "layer") == "1 layer"
    assert count(0, "layer") == "0 layers"
    assert enumeration(["a"]) == "a"
    assert enumeration(["a", "b"]) == "a and b"


@given(st.text(alphabet="ab.1", max_size=60), st.integers(2, 40))
def test_a_shortened_name_fits(name, length):
    assert len(shortened(name, length)) <= length


def test_layers_of_a_stack_stay_apart_when_shortened():
    names = [f"encoder.layers.{index}.attention.output.dense" for index in range(48)]
    assert len({shortened(name) for name in names}) == 48
