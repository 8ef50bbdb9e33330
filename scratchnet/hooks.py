"""How a listener hears a forward pass, a backward pass and an optimiser's step.

A module, a tensor and an optimiser each hold `Hooks`, empty until somebody listens: a model without
listeners pays one truth test a call.
"""

from collections.abc import Callable
from typing import Any


class Handle:
    """Returned by every ``register_…_hook``; `remove` takes the listener away, any number of times."""

    def __init__(self, hooks: "Hooks", key: int) -> None:
        self._hooks = hooks
        self._key = key

    def remove(self) -> None:
        """Stops listening."""
        self._hooks.discard(self._key)


class Hooks(dict[int, Callable[..., None]]):
    """Listeners in the order in which they came, by their key; false while there is none."""

    # A dict itself, so that the question whether anybody listens costs no call.
    __slots__ = ("_next_key",)

    def __init__(self) -> None:
        super().__init__()
        self._next_key = 0

    def add(self, listener: Callable[..., None]) -> Handle:
        """Lets ``listener`` hear all that follows."""
        if not callable(listener):
            raise TypeError(f"a hook needs a callable, got {type(listener).__name__}")
        key, self._next_key = self._next_key, self._next_key + 1
        self[key] = listener
        return Handle(self, key)

    def discard(self, key: int) -> None:
        """Forgets one listener, if it is still there."""
        self.pop(key, None)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copied or pickled model starts without listeners: an averaged copy of it must not be recorded too.
        return Hooks, ()

    def __call__(self, *arguments: Any) -> None:
        """Tells every listener."""
        # A copy, because a listener may remove itself while it is being told.
        for listener in tuple(self.values()):
            listener(*arguments)
