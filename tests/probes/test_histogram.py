"""The histogram in powers of two: against a count by hand, entry by entry."""

import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import probes
from probes import histogram

BINS = probes.histogram_bins()
DTYPES = ["float16", "float32", "float64"]


def bin_by_hand(number: float, smallest_normal: float) -> str:
    """Where one number belongs, without a look at its bits."""
    if math.isnan(number):
        return "nan"
    if number == 0:
        return "0"
    sign, size = "-" if number < 0 else "+", abs(number)
    if math.isinf(size):
        return f"{sign}inf"
    if size < smallest_normal:
        return f"{sign}subnormal"
    exponent = math.frexp(size)[1] - 1
    if exponent < -64:
        return f"{sign}below 2^-64"
    return f"{sign}2^{exponent}" if exponent < 32 else f"{sign}from 2^32"


def counts_by_hand(array) -> dict[str, int]:
    numbers = [float(number) for number in array.ravel()]
    smallest = float(np.finfo(array.dtype).smallest_normal)
    found = [bin_by_hand(number, smallest) for number in numbers]
    return {label: found.count(label) for label in found}


def named(counts) -> dict[str, int]:
    return {label: int(count) for label, count in zip(BINS, counts, strict=True) if count}


ANY_FLOATS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_side=0, max_side=6))
)


@settings(max_examples=100)
@given(ANY_FLOATS)
def test_every_entry_is_counted_once_and_where_it_belongs(array):
    counts = probes.magnitude_histogram(array)
    assert int(counts.sum()) == array.size
    assert named(counts) == counts_by_hand(array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_at_the_edges_fall_to_the_side_above(dtype, in_library):
    kind = np.finfo(dtype)
    edges = probes.histogram_edges()
    edges = edges[(edges >= kind.smallest_normal) & (edges <= kind.max)].astype(dtype)
    array = np.concatenate([edges, np.nextafter(edges, 0, dtype=dtype), -edges])
    counts = probes.magnitude_histogram(in_library(array))
    assert named(counts) == counts_by_hand(array)


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
@pytest.mark.parametrize("counted", ["as given", "on a device"])
def test_what_is_no_normal_number_is_counted_in_every_type(dtype, counted):
    torch = pytest.importorskip("torch")
    kind = torch.finfo(getattr(torch, dtype))
    numbers = [0.0, -0.0, math.inf, -math.inf, -math.inf, math.nan, kind.tiny, -kind.tiny / 2, kind.tiny / 4]
    tensor = torch.tensor(numbers, dtype=torch.float64).to(getattr(torch, dtype))
    if counted == "as given":
        counts = probes.magnitude_histogram(tensor)
    else:
        layout = histogram._FORMATS[dtype]
        counts = histogram._binned(layout, *histogram._counted_on_device(tensor, layout))
    assert isinstance(counts, torch.Tensor)
    least = "+2^-14" if dtype == "float16" else "+below 2^-64"
    assert named(counts) == {
        "-inf": 2,
        "-subnormal": 1,
        "0": 2,
        "+subnormal": 1,
        least: 1,
        "+inf": 1,
        "nan": 1,
    }


def test_many_entries_are_counted_alike_here_and_on_a_device():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    array = (rng.standard_normal((300, 500)) * 10.0 ** rng.integers(-25, 12, (300, 500))).astype(np.float32)
    array[0, :7] = [0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-42]
    tensor, layout = torch.asarray(array), histogram._FORMATS["float32"]
    counts = probes.magnitude_histogram(array)
    assert int(counts.sum()) == array.size
    np.testing.assert_array_equal(probes.magnitude_histogram(tensor), counts)
    np.testing.assert_array_equal(
        histogram._binned(layout, *histogram._counted_on_device(tensor, layout)), counts
    )


@settings(max_examples=40)
@given(arrays_of.arrays("float32", 20), arrays_of.arrays("float32", 30))
def test_histograms_add_up(one, other):
    apart = probes.magnitude_histogram(one) + probes.magnitude_histogram(other)
    np.testing.assert_array_equal(probes.magnitude_histogram(np.concatenate([one, other])), apart)


@settings(max_examples=40)
@given(arrays_of.arrays("float64", 20))
def test_the_other_sign_mirrors_the_bins(array):
    counts, mirrored = probes.magnitude_histogram(array), probes.magnitude_histogram(-array)
    np.testing.assert_array_equal(mirrored[:-1], counts[:-1][::-1])
    assert mirrored[-1] == counts[-1]


def test_a_scale_by_a_power_of_two_shifts_the_bins(in_library):
    array = np.random.default_rng(0).standard_normal(1000)
    counts, doubled = (probes.magnitude_histogram(in_library(scale * array)) for scale in (1.0, 2.0))
    zero = BINS.index("0")
    np.testing.assert_array_equal(doubled[zero + 5 : -3], counts[zero + 4 : -4])


@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0], ids=str)
def test_an_array_of_one_odd_number_alone_is_counted_too(fill, in_library):
    counts = probes.magnitude_histogram(in_library(np.full(100_000, fill, dtype=np.float32)))
    assert int(counts[BINS.index({"nan": "nan", "inf": "+inf", "0.0": "0"}[str(fill)])]) == 100_000


@pytest.mark.parametrize(
    "view",
    [lambda a: a[:, ::2], lambda a: a.T, lambda a: a[::-1], lambda a: a.astype(">f8")],
    ids=["strided", "transposed", "reversed", "foreign bytes"],
)
def test_views_are_counted_as_they_are(view):
    array = view(np.random.default_rng(0).standard_normal((20, 30)))
    assert named(probes.magnitude_histogram(array)) == counts_by_hand(array)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64"])
def test_integers_count_as_numbers(dtype, in_library):
    counts = probes.magnitude_histogram(in_library(np.array([0, 1, 1], dtype=dtype)))
    assert named(counts) == {"0": 1, "+2^0": 2}


def test_an_empty_array_has_no_counts(in_library):
    counts = probes.magnitude_histogram(in_library(np.empty((0, 3))))
    assert counts.shape == (len(BINS),)
    assert int(counts.sum()) == 0


def test_bins_have_names_of_their_own_along_the_number_line():
    assert len(set(BINS)) == len(BINS) == 202
    assert BINS[:100] == tuple("-" + label[1:] for label in BINS[101:201][::-1])
    assert len(probes.histogram_edges()) == 97
