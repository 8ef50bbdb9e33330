"""Data: the digits, parts of sets, and the loader that deals examples out."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    collate,
    load_digits,
    random_split,
    train_test_split,
)


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
        (1e-9, "leaves examples in both parts of 1797, got 1e-09"),
    ],
)
def test_a_split_without_one_of_its_parts_is_refused(test_size: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"train_test_split needs .*{message}"):
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
        ((np.float32(3),), 1, "one example in each row, got a single number"),
        (np.ones((0, 2)), 1, "DataLoader needs at least one example, got an empty ndarray"),
    ],
    ids=["unequal", "empty", "none", "no batch", "number", "empty set"],
)
def test_a_loader_that_could_deal_nothing_is_refused(dataset: Any, batch_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(dataset, batch_size)


# ------------------------------------------------------------------------------------------ data sets


class Powers(Dataset):
    """Examples that are computed one by one: a number, and its first powers."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: Any) -> tuple[np.float32, Any]:
        return np.float32(index), np.array([index**2, index**3])


class Letters:
    """Has what a data set needs and knows nothing of ours; its examples are not arrays, nor tuples."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"number": index, "letter": ord("a") + index}


def test_examples_of_a_data_set_are_stacked() -> None:
    batches = list(DataLoader(Powers(), batch_size=4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    x, y = batches[-1]
    assert x.dtype == np.float32
    assert (x.tolist(), y.tolist()) == ([8.0, 9.0], [[64, 512], [81, 729]])


def test_whatever_can_be_counted_and_indexed_is_a_data_set() -> None:
    (batch,) = DataLoader(Letters(), batch_size=4)
    assert {name: values.tolist() for name, values in batch.items()} == {
        "number": [0, 1, 2, 3],
        "letter": [97, 98, 99, 100],
    }
    (rows,) = DataLoader(np.arange(6.0).reshape(3, 2), batch_size=3)
    np.testing.assert_array_equal(rows, np.arange(6.0).reshape(3, 2))


def test_a_data_set_of_arrays_is_dealt_like_the_arrays() -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    for left, right in zip(
        DataLoader(TensorDataset(x, y), 4, shuffle=True, rng=0),
        DataLoader((x, y), 4, shuffle=True, rng=0),
        strict=True,
    ):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_batch_of_rows_equals_the_rows_one_by_one() -> None:
    dataset = TensorDataset(np.arange(12.0).reshape(6, 2), np.arange(6))
    rows = np.array([5, 0, 3])
    for fast, slow in zip(dataset.batch(rows), collate([dataset[int(row)] for row in rows]), strict=True):
        np.testing.assert_array_equal(fast, slow)


def test_a_collate_function_may_pad() -> None:
    sentences = [np.arange(size) for size in (1, 3, 2)]

    def padded(examples: list[Any]) -> Any:
        longest = max(len(example) for example in examples)
        return np.stack([np.pad(example, (0, longest - len(example))) for example in examples])

    class Sentences(Letters):
        def __len__(self) -> int:
            return len(sentences)

        def __getitem__(self, index: int) -> Any:
            return sentences[index]

    assert [batch.shape for batch in DataLoader(Sentences(), 2, collate_fn=padded)] == [(2, 3), (1, 2)]
    with pytest.raises(
        ValueError, match=r"collate needs examples of one shape, got \(1,\), \(3,\); pad them"
    ):
        next(iter(DataLoader(Sentences(), 2)))


def test_examples_of_unequal_structure_are_refused() -> None:
    with pytest.raises(ValueError, match=r"collate needs examples with equally many parts, got \[1, 2\]"):
        collate([(1,), (1, 2)])


def test_a_subset_has_the_examples_that_it_names() -> None:
    part = Subset(Powers(), [7, 2, 7])
    assert len(part) == 3
    assert part[1][0] == 2
    assert [x.tolist() for x, _ in DataLoader(part, 2)] == [[7.0, 2.0], [7.0]]
    nested = Subset(Subset(TensorDataset(np.arange(10)), [9, 8, 7]), [2, 0])
    assert nested.batch(np.array([0, 1]))[0].tolist() == [7, 9]
    for wrong in (10, -1):
        with pytest.raises(IndexError, match=rf"Subset needs indices in 0\.\.9, got {wrong}"):
            Subset(Powers(), [0, wrong])


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(sum), seed=st.integers(0, 9))
def test_a_random_split_deals_each_example_to_one_part(lengths: list[int], seed: int) -> None:
    dataset = TensorDataset(np.arange(sum(lengths)))
    one, other = (random_split(dataset, lengths, rng=seed) for _ in range(2))
    assert [len(part) for part in one] == lengths
    assert sorted(np.concatenate([part.indices for part in one]).tolist()) == list(range(sum(lengths)))
    assert [part.indices.tolist() for part in one] == [part.indices.tolist() for part in other]


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(1, 40),
    shares=st.sampled_from([(0.5, 0.5), (0.7, 0.2, 0.1), (1.0,), (1 / 3, 1 / 3, 1 / 3), (0.0, 1.0)]),
)
def test_shares_are_rounded_as_torch_rounds_them(examples: int, shares: tuple[float, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours = [len(part) for part in random_split(np.arange(examples), shares, rng=0)]
    with warnings.catch_warnings():
        # It warns where a part comes out empty.
        warnings.simplefilter("ignore")
        theirs = [len(part) for part in torch.utils.data.random_split(range(examples), list(shares))]
    assert ours == theirs


@pytest.mark.parametrize("lengths", [[5, 4], [11, -1], [0.5, 0.4], [9.5, 0.5]])
def test_a_random_split_that_does_not_add_up_is_refused(lengths: list[float]) -> None:
    with pytest.raises(ValueError, match="random_split needs lengths that sum to the 10 examples"):
        random_split(Powers(), lengths)


@settings(max_examples=60, deadline=None)
@given(examples=st.integers(2, 40), seed=st.integers(0, 9))
def test_a_train_test_split_keeps_rows_together_and_loses_none(examples: int, seed: int) -> None:
    x = np.arange(examples)
    x_train, x_test, y_train, y_test = train_test_split(x, -x, test_size=0.5, rng=seed)
    assert sorted([*x_train.tolist(), *x_test.tolist()]) == x.tolist()
    np.testing.assert_array_equal(x_train, -y_train)
    np.testing.assert_array_equal(x_test, -y_test)


@pytest.mark.parametrize(
    "arrays", [(), (np.ones(3), np.ones(2)), (np.float64(1),)], ids=["none", "unequal", "0-d"]
)
def test_arrays_that_cannot_be_split_together_are_refused(arrays: Any) -> None:
    with pytest.raises(ValueError, match="train_test_split needs arrays of one length, got shapes"):
        train_test_split(*arrays)
