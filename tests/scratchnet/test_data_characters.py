"""The corpus that every Python carries."""

import hashlib
import platform
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet.data import Characters, DataLoader, load_characters, sequences


@pytest.fixture(scope="module")
def corpus() -> Characters:
    return load_characters()


def test_the_text_is_what_its_hash_and_its_modules_say(corpus: Characters) -> None:
    text = corpus.decode(np.concatenate([corpus.train, corpus.test]))
    assert hashlib.sha256(text.encode()).hexdigest() == corpus.sha256
    folder = Path(sysconfig.get_path("stdlib"))
    assert text == "".join((folder / f"{name}.py").read_text("utf-8") for name in corpus.modules)
    assert corpus.modules == tuple(sorted(corpus.modules))
    assert corpus.python == platform.python_version()


def test_it_is_plain_and_large_enough_to_learn_from(corpus: Characters) -> None:
    assert len(corpus.train) + len(corpus.test) > 1_000_000
    assert corpus.vocabulary.isascii()
    assert sorted(set(corpus.vocabulary)) == list(corpus.vocabulary)
    assert 80 < len(corpus.vocabulary) < 128
    assert {part.dtype for part in (corpus.train, corpus.test)} == {np.dtype(np.int64)}
    assert corpus.train.max() < len(corpus.vocabulary)


def test_it_says_what_it_is(corpus: Characters) -> None:
    assert repr(corpus).startswith(f"Characters({len(corpus.train):,} to learn from")
    assert f"Python {platform.python_version()}, sha256 {corpus.sha256[:12]}" in repr(corpus)


def test_the_test_part_is_the_end_of_the_text() -> None:
    one, other = (load_characters(modules=["queue", "bisect"], test_size=size) for size in (0.25, 0.5))
    whole = np.concatenate([one.train, one.test])
    np.testing.assert_array_equal(whole, np.concatenate([other.train, other.test]))
    assert len(one.test) == round(len(whole) * 0.25)
    assert one.modules == ("bisect", "queue")


def test_packages_and_their_modules_are_found() -> None:
    assert load_characters(modules=["json"]).decode(load_characters(modules=["json"]).train[:3]) == 'r""'
    assert len(load_characters(modules=["json.decoder"]).train) > 1000


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_decoding_undoes_encoding(corpus: Characters, data: st.DataObject) -> None:
    text = data.draw(st.text(st.sampled_from(corpus.vocabulary)))
    assert corpus.decode(corpus.encode(text)) == text


def test_what_is_not_in_the_vocabulary_is_refused(corpus: Characters) -> None:
    for character in ("€", "\0", "🦆"):
        with pytest.raises(
            ValueError,
            match=f"encode needs characters of the vocabulary, got {character!r}".replace("\\", "\\\\"),
        ):
            corpus.encode(f"abc{character}")
    for number in (-1, len(corpus.vocabulary)):
        with pytest.raises(ValueError, match=rf"decode needs numbers in 0\.\.\d+, got {number}"):
            corpus.decode([0, number])


def test_a_module_without_source_is_named() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"source of the standard module 'math2', Python 3.*name others"
    ):
        load_characters(modules=["math2"])


@pytest.mark.parametrize("test_size", [0, 1, 1e-9])
def test_a_split_without_one_of_its_parts_is_refused(test_size: float) -> None:
    with pytest.raises(ValueError, match=rf"test_size in \(0, 1\) .*, got {test_size}"):
        load_characters(modules=["bisect"], test_size=test_size)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(2, 60), length=st.integers(1, 20), stride=st.none() | st.integers(1, 30))
def test_the_target_is_the_input_one_place_later(size: int, length: int, stride: int | None) -> None:
    numbers = np.random.default_rng(0).permutation(size)
    if size <= length:
        with pytest.raises(ValueError, match=rf"needs more than {length} numbers .* got shape \({size},\)"):
            sequences(numbers, length, stride=stride)
        return
    x, y = sequences(numbers, length, stride=stride)
    starts = list(range(0, size - length, stride or length))
    assert x.shape == y.shape == (len(starts), length)
    for row, start in enumerate(starts):
        np.testing.assert_array_equal(x[row], numbers[start : start + length])
        np.testing.assert_array_equal(y[row], numbers[start + 1 : start + length + 1])


def test_windows_take_no_memory_and_cannot_be_written_into(corpus: Characters) -> None:
    x, y = sequences(corpus.train, 64, stride=1)
    assert np.shares_memory(x, corpus.train)
    assert not x.flags.writeable
    inputs, targets = next(iter(DataLoader((x, y), batch_size=32, shuffle=True, rng=0)))
    assert inputs.flags.writeable
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])


@pytest.mark.parametrize(("length", "stride"), [(0, None), (3, 0)])
def test_windows_of_nothing_are_refused(length: int, stride: int | None) -> None:
    with pytest.raises(ValueError, match="sequences needs length >= 1 and stride >= 1, got"):
        sequences(np.arange(9), length, stride=stride)
