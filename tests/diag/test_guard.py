"""The guard: what goes wrong inside diag is told once and goes no further."""

import warnings
from contextlib import nullcontext

import pytest

from diag.guard import DiagWarning, Guard


@pytest.fixture
def told():
    return []


@pytest.fixture
def guard(told):
    return Guard(lambda *words: told.append(words))


def test_an_error_is_swallowed_warned_of_and_told(guard, told):
    with (
        pytest.warns(DiagWarning, match=r"my_probe failed at 'fc1': ValueError: no; training goes on"),
        guard("my_probe", "fc1"),
    ):
        raise ValueError("no")
    assert told == [("my_probe", "fc1", "my_probe failed at 'fc1': ValueError: no")]


def test_the_same_failure_is_told_once_and_another_subject_again(guard, told):
    def fail(subject):
        with guard("my_probe", subject):
            raise ValueError("no")

    with pytest.warns(DiagWarning) as warned:
        list(map(fail, ("fc1", "fc1", "fc2")))
    assert len(warned) == len(told) == 2


def test_a_warning_turned_into_an_error_does_not_escape(guard, told):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with guard("my_probe", "fc1"):
            raise ValueError("no")
    assert len(told) == 1


def test_a_teller_that_fails_does_not_escape():
    def tell(*_):
        raise OSError("disk full")

    with pytest.warns(DiagWarning), Guard(tell)("my_probe", "fc1"):
        raise ValueError("no")


def test_an_interrupt_by_the_user_goes_through(guard):
    with pytest.raises(KeyboardInterrupt), guard("my_probe"):
        raise KeyboardInterrupt


def test_what_an_attempt_makes_is_given_back_alone_and_in_a_block(guard):
    assert guard.attempt("double", "", lambda number: 2 * number, 3) == 6
    with guard("outer"):
        assert guard.attempt("double", "", lambda number: 2 * number, 3) == 6


@pytest.mark.parametrize("is_nested", [False, True], ids=["alone", "in_a_block"])
def test_an_attempt_that_fails_is_told_and_gives_nothing(guard, told, is_nested):
    with (
        nullcontext() if not is_nested else guard("outer"),
        pytest.warns(DiagWarning, match="double failed at 'fc1'"),
    ):
        assert guard.attempt("double", "fc1", lambda number: 2 / number, 0) is None
    assert [words[:2] for words in told] == [("double", "fc1")]


def test_time_is_counted_once_where_blocks_are_nested(guard):
    with guard("outer"), guard("inner"):
        total = sum(range(100_000))
    seconds = guard.take_seconds()
    assert total > 0
    assert seconds > 0
    assert guard.take_seconds() == 0
