"""Data: the digits, and the loader that deals examples out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet.data import DataLoader, load_digits


def test_digits_are_standardised_by_their_training_part() -> None:
    split = load_digits()
    assert [array.shape for array in split] == [(1438, 64), (1438,), (359, 64), (359,)]
    assert [array.dtype for array in split] == [np.float32, np.int64, np.float32, np.int64]
    assert set(split.y_train.tolist()) == set(range(10))
    x = split.x_train.astype(float)
    varying = x.std(axis=0) > 0
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0)[varying], 1, atol=1e-6)
    assert not split.x_test[:, ~varying].any()


def test_digits_are_shuffled_by_the_generator_that_is_given() -> None:
    np.testing.assert_array_equal(load_digits(rng=3).y_train, load_digits(rng=3).y_train)
    assert not np.array_equal(load_digits(rng=3).y_train, load_digits(rng=4).y_train)


def test_the_size_of_the_test_part_is_the_one_that_is_asked_for() -> None:
    assert len(load_digits(test_size=0.25).y_test) == 449


@pytest.mark.parametrize(
    ("test_size", "message"),
    [
        (0, r"in \(0, 1\), got 0"),
        (1.0, r"in \(0, 1\), got 1\.0"),
        (1e-9, "leaves examples in both parts, got 1e-09"),
    ],
)
def test_a_split_without_one_of_its_parts_is_refused(test_size: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"load_digits needs .*{message}"):
        load_digits(test_size=test_size)


def numbers(loader: DataLoader) -> list[int]:
    return [int(n) for (batch,) in loader for n in batch]


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(1, 40), batch_size=st.integers(1, 45), shuffle=st.booleans(), seed=st.integers(0, 9)
)
def test_a_pass_deals_each_example_exactly_once(
    examples: int, batch_size: int, shuffle: bool, seed: int
) -> None:
    loader = DataLoader((np.arange(examples),), batch_size, shuffle, rng=seed)
    for _ in range(2):
        assert sorted(numbers(loader)) == list(range(examples))
    assert len(loader) == len(list(loader))


@settings(max_examples=30, deadline=None)
@given(examples=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 9))
def test_a_seed_fixes_the_order_of_all_passes(examples: int, batch_size: int, seed: int) -> None:
    one, other = (DataLoader((np.arange(examples),), batch_size, shuffle=True, rng=seed) for _ in range(2))
    assert [numbers(one) for _ in range(3)] == [numbers(other) for _ in range(3)]


@settings(max_examples=30, deadline=None)
@given(examples=st.integers(1, 40), batch_size=st.integers(1, 45))
def test_with_drop_last_every_batch_is_full(examples: int, batch_size: int) -> None:
    loader = DataLoader((np.arange(examples),), batch_size, drop_last=True)
    assert [len(batch) for (batch,) in loader] == [batch_size] * (examples // batch_size)
    assert len(loader) == examples // batch_size


def test_the_order_changes_from_pass_to_pass() -> None:
    loader = DataLoader((np.arange(50),), batch_size=8, shuffle=True, rng=0)
    assert numbers(loader) != numbers(loader)


def test_without_shuffling_examples_come_as_they_stand_and_stay_together() -> None:
    x, y = np.arange(12.0).reshape(6, 2), [10, 11, 12, 13, 14, 15]
    batches = list(DataLoader((x, y), batch_size=4))
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches]), x)
    assert [batch[1].tolist() for batch in batches] == [[10, 11, 12, 13], [14, 15]]


def test_shuffled_rows_of_all_arrays_stay_together() -> None:
    x = np.arange(20)
    for left, right in DataLoader((x, -x), batch_size=3, shuffle=True, rng=0):
        np.testing.assert_array_equal(left, -right)


@pytest.mark.parametrize(
    ("dataset", "batch_size", "message"),
    [
        ((np.ones(3), np.ones(4)), 1, r"arrays of one length, not empty, got lengths \[3, 4\]"),
        ((np.ones(0),), 1, r"got lengths \[0\]"),
        ((), 1, r"got lengths \[\]"),
        ((np.ones(3),), 0, "DataLoader needs batch_size >= 1, got 0"),
    ],
    ids=["unequal", "empty", "none", "no batch"],
)
def test_a_loader_that_could_deal_nothing_is_refused(dataset: Any, batch_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(dataset, batch_size)
