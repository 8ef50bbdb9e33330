"""What attention remembers from one generated token to the next."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchnet.nn.module import Module
from scratchnet.tape import Array, is_recording
from scratchnet.tensor import Tensor, as_tensor


class KVCache:
    """Keys and values of the positions so far, so that a new token costs one query instead of all of them.

    One cache serves a whole network: each attention layer that it is passed to keeps its own part in it.
    Generation step by step with a cache and ``is_causal=True`` equals one causal pass over everything.
    Keys and values are kept without their tape, so it works inside `scratchnet.no_grad` only. Memory
    grows by doubling; a new sequence takes a new cache.

    Attributes:
        length: Positions that a layer has seen; ``len(cache)`` is that of the first layer.

    Example:
        >>> import scratchnet as sn
        >>> from scratchnet import nn
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, rng=0).eval()
        >>> x = np.random.default_rng(0).standard_normal((1, 3, 8)).astype(np.float32)
        >>> cache = KVCache()
        >>> with sn.no_grad():
        ...     steps = [layer(x[:, [t]], is_causal=True, cache=cache).numpy() for t in range(3)]
        >>> np.allclose(np.concatenate(steps, axis=1), layer(x, is_causal=True).numpy(), atol=1e-5)
        True
    """

    def __init__(self) -> None:
        self._growing: dict[Module, tuple[_Row, _Row]] = {}
        self._fixed: dict[Module, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return next((keys.length for keys, _ in self._growing.values()), 0)

    def length(self, layer: Module) -> int:
        """Positions that a layer has seen."""
        return self._growing[layer][0].length if layer in self._growing else 0

    def extend(self, layer: Module, keys: Any, values: Any) -> tuple[Tensor, Tensor]:
        """Adds a layer's keys and values, ``(..., positions, columns)``; gives all that it has seen.

        Raises:
            RuntimeError: If gradients are recorded.
            ValueError: If the batch is another than before.
        """
        _check_recording()
        rows = self._growing.setdefault(layer, (_Row(), _Row()))
        extended = [row.extend(as_tensor(new).array) for row, new in zip(rows, (keys, values), strict=True)]
        return as_tensor(extended[0]), as_tensor(extended[1])

    def recall(
        self, layer: Module, memory: Any, project: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory that stays, such as an encoder's output; projected the first time.

        Raises:
            RuntimeError: If gradients are recorded.
            ValueError: If the layer looked at another memory before.
        """
        _check_recording()
        known, projected = self._fixed.setdefault(layer, (memory, None))
        if known is not memory:
            raise ValueError(
                f"{type(layer).__name__} needs one memory for all steps with a cache, got another object "
                f"of shape {np.shape(memory)}; begin a new KVCache for a new sequence"
            )
        if projected is None:
            projected = project()
            self._fixed[layer] = (memory, projected)
        return projected


class _Row:
    """An array that grows along its second axis from the end."""

    def __init__(self) -> None:
        self.length = 0
        self._room: Array | None = None

    def extend(self, new: Array) -> Array:
        """Puts positions at the end and gives all so far, a view."""
        first, self.length = self.length, self.length + new.shape[-2]
        room = self._room
        if room is not None and (*room.shape[:-2], room.shape[-1]) != (*new.shape[:-2], new.shape[-1]):
            raise ValueError(
                f"KVCache needs keys and values shaped as before but for the positions, got {new.shape} "
                f"after {room.shape}; begin a new KVCache for a new batch"
            )
        if room is None or self.length > room.shape[-2]:
            larger = np.empty((*new.shape[:-2], 2 * self.length, new.shape[-1]), new.dtype)
            if room is not None:
                larger[..., :first, :] = room[..., :first, :]
            room = self._room = larger
        room[..., first : self.length, :] = new
        return room[..., : self.length, :]


def _check_recording() -> None:
    if is_recording():
        raise RuntimeError(
            "KVCache needs a pass that records no gradients, for it keeps arrays; "
            "generate inside `with scratchnet.no_grad():`"
        )
