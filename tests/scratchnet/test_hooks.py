"""Listeners: who hears what, in which order, and until when."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn
from scratchnet.hooks import Hooks


def test_there_is_something_to_tell_only_while_somebody_listens() -> None:
    hooks = Hooks()
    assert not hooks
    handle = hooks.add(print)
    assert hooks
    handle.remove()
    assert not hooks


def test_listeners_are_told_in_the_order_in_which_they_came() -> None:
    hooks = Hooks()
    heard: list[Any] = []
    hooks.add(lambda a, b: heard.append(("first", a, b)))
    hooks.add(lambda a, b: heard.append(("second", a, b)))
    hooks(1, 2)
    assert heard == [("first", 1, 2), ("second", 1, 2)]


def test_a_listener_that_came_twice_is_told_twice_and_leaves_once_by_each_handle() -> None:
    hooks = Hooks()
    heard: list[Any] = []
    first, _ = hooks.add(heard.append), hooks.add(heard.append)
    hooks("both")
    first.remove()
    hooks("one")
    assert heard == ["both", "both", "one"]


def test_a_handle_can_be_removed_any_number_of_times_and_takes_nobody_else_along() -> None:
    hooks = Hooks()
    heard: list[Any] = []
    handle = hooks.add(print)
    handle.remove()
    hooks.add(heard.append)
    handle.remove()
    hooks("still told")
    assert heard == ["still told"]


def test_a_listener_may_remove_itself_while_it_is_told() -> None:
    hooks = Hooks()
    heard: list[Any] = []

    def once(word: str) -> None:
        heard.append(word)
        handle.remove()

    handle = hooks.add(once)
    hooks.add(heard.append)
    hooks("a")
    hooks("b")
    assert heard == ["a", "a", "b"]


def test_copies_have_no_listeners() -> None:
    hooks = Hooks()
    hooks.add(lambda: None)  # cannot be pickled, and need not be
    assert not copy.deepcopy(hooks)
    assert not pickle.loads(pickle.dumps(hooks))  # noqa: S301 - what this very process wrote
    assert hooks


def test_a_listener_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="a hook needs a callable, got int"):
        Hooks().add(3)  # type: ignore[arg-type]


def test_a_leaf_that_a_module_gives_back_as_it_came_is_heard_once_a_pass() -> None:
    heard = []
    module = nn.Identity()
    module.register_backward_hook(lambda _module, gradient: heard.append(gradient.item()))
    leaf = sn.Tensor(np.array(2.0), requires_grad=True)
    for _ in range(3):
        (module(leaf) * 5.0).backward()
    assert heard == [5.0, 5.0, 5.0]
