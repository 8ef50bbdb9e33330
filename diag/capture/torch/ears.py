"""The hooks that sit on modules: what they hear they pass to whoever listens, compiled or not.

Compiled code keeps no Python hook. What it does keep is an operator, so a hook that is being compiled
leaves one in the graph, which finds its listener by number whenever the graph runs: no break in the
graph, and nothing to recompile when listening begins or ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Protocol, cast
from weakref import WeakValueDictionary, ref

import torch
from torch import nn

from diag.capture.torch.tensors import first_tensor
from diag.events import EventKind


class Listener(Protocol):
    """Who is told what the ears hear."""

    def on_enter(self) -> None:
        """The network is about to run."""

    def on_heard(self, kind: EventKind, subject: str, value: Any) -> None:
        """A module ran; its tensor is still among what else it gave."""

    def on_heard_compiled(self, kind: EventKind, subject: str, value: torch.Tensor) -> None:
        """A module ran in compiled code."""


# An operator can carry a number and no object; a listener that is gone leaves its number empty.
_LISTENERS: WeakValueDictionary[int, Listener] = WeakValueDictionary()
_NUMBERS = count()


# Replayed from a recording of the device's work, the operator would not be asked.
@torch.library.custom_op("diag::hear", mutates_args=("token",), tags=(torch.Tag.cudagraph_unsafe,))
def _hear(value: torch.Tensor, token: torch.Tensor, listener: int, kind: str, subject: str) -> None:
    # The token is said to change, so that no compiler drops a call without a result.
    found = _LISTENERS.get(listener)
    if found is not None:
        found.on_heard_compiled(cast(EventKind, kind), subject, value)


@_hear.register_fake
def _(value: torch.Tensor, token: torch.Tensor, listener: int, kind: str, subject: str) -> None:
    return None


_IS_UNHEARD = ContextVar("_IS_UNHEARD", default=False)


@contextmanager
def unheard() -> Iterator[None]:
    """What runs inside is nobody's training, whoever listens to the model."""
    token = _IS_UNHEARD.set(True)
    try:
        yield
    finally:
        _IS_UNHEARD.reset(token)


class Hearing:
    """Makes the ears of one listener.

    Args:
        listener: Told of what is heard, as long as it lives.
        device: Where the model computes.
    """

    def __init__(self, listener: Listener, device: torch.device) -> None:
        self.number = next(_NUMBERS)
        self.token = torch.zeros((), device=device)
        self._listener = ref(listener)
        _LISTENERS[self.number] = listener

    def tell(self, kind: EventKind, subject: str, value: Any) -> None:
        """Passes on what was heard; called while compiling, it sees to it that the graph does."""
        if not torch.compiler.is_compiling():
            listener = self._listener()
            if listener is not None and not _IS_UNHEARD.get():
                listener.on_heard(kind, subject, value)
        elif torch.is_grad_enabled():
            tensor = first_tensor(value)
            if tensor is not None:
                _hear(tensor.detach(), self.token, self.number, kind, subject)

    def enter(self) -> None:
        """Passes on that the network is about to run."""
        listener = None if torch.compiler.is_compiling() else self._listener()
        if listener is not None and not _IS_UNHEARD.get():
            listener.on_enter()


class Deaf:
    """The hook of a copied model: nobody watches the copy."""

    def __call__(self, *_: Any) -> None:
        """Does nothing."""


class _Ear:
    """A hook. Copied or pickled with its module it comes out deaf."""

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing

    def __reduce__(self) -> tuple[type[Deaf], tuple[()]]:
        return Deaf, ()


class LayerEar(_Ear):
    """Hears the output of a layer, and of those inside it that give the same."""

    def __init__(self, hearing: Hearing, names: Sequence[str]) -> None:
        super().__init__(hearing)
        self.names = names

    def __call__(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        """See the class."""
        for name in self.names:
            self.hearing.tell("activation", name, output)


class EntranceEar(_Ear):
    """Hears that the network is about to run."""

    def __call__(self, _module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        """See the class."""
        self.hearing.enter()


class NetworkEar(_Ear):
    """Hears the input of the network, once it has run."""

    def __call__(
        self, _module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any], _output: Any
    ) -> None:
        """See the class."""
        self.hearing.tell("input", "", (inputs, named))


class CriterionEar(_Ear):
    """Hears what a loss is made of, and the loss."""

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...], loss: Any) -> None:
        """See the class."""
        kinds: tuple[EventKind, EventKind] = ("prediction", "target")
        for kind, value in zip(kinds, inputs, strict=False):
            self.hearing.tell(kind, "", value)
        self.hearing.tell("loss", "", loss)
