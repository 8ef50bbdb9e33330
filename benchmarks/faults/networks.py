"""From a network's description to a model, in scratchnet or in PyTorch; layers bear telling names.

Hidden blocks are ``hidden1``, ``norm1``, ``act1``, …, the last layer is ``head``; the operators' truth names them so.
"""

import math
from collections import OrderedDict
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.faults.program import Network, Program, Start


@cache
def parts(framework: str) -> Any:
    """Modules that the framework's ``nn`` lacks, made of its own."""
    nn: Any = import_module(f"{framework}.nn")

    class Last(nn.Module):  # type: ignore[misc]
        """A recurrent network's output at the last step."""

        def __init__(self, recurrent: Any) -> None:
            super().__init__()
            self.recurrent = recurrent

        def forward(self, x: Any) -> Any:
            return self.recurrent(x)[0][:, -1]

    class Positions(nn.Module):  # type: ignore[misc]
        """Adds a learned vector for each position."""

        def __init__(self, length: int, width: int) -> None:
            super().__init__()
            self.table = nn.Parameter(_tensor(framework, np.zeros((length, width), np.float32)))

        def forward(self, x: Any) -> Any:
            return x + self.table

    class Mean(nn.Module):  # type: ignore[misc]
        """Mean over positions."""

        def forward(self, x: Any) -> Any:
            return x.mean(1)

    class Cut(nn.Module):  # type: ignore[misc]
        """Gives the same numbers, without where they came from."""

        def forward(self, x: Any) -> Any:
            return x.detach()

    class Residual(nn.Sequential):  # type: ignore[misc]
        """Adds what comes in."""

        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    return {part.__name__: part for part in (Last, Positions, Mean, Cut, Residual)}


def build(program: Program, shape: tuple[int, ...], outputs: int, seed: int) -> Any:
    """The model, with weights drawn by the seed.

    Args:
        program: What to build, and how it starts.
        shape: Of one example.
        outputs: Of the last layer.
        seed: Of the weights and of dropout.
    """
    nn = import_module(f"{program.framework}.nn")
    if program.framework == "torch":
        import_module("torch").manual_seed(seed)
    builder = _Builder(nn, program, seed)
    model = builder.model(shape, outputs)
    draw(model, program.start, program.network, seed)
    return model


class _Builder:
    """Puts one model together."""

    def __init__(self, nn: Any, program: Program, seed: int) -> None:
        self.nn, self.framework, self.network = nn, program.framework, program.network
        self.parts = parts(program.framework)
        # Dropout in PyTorch draws from its own generator, seeded before.
        self.random = {} if program.framework == "torch" else {"rng": seed}

    def model(self, shape: tuple[int, ...], outputs: int) -> Any:
        modules: dict[str, Any] = {}
        width = getattr(self, f"_start_of_{self.network.architecture}")(modules, shape)
        for block in range(1, self.network.depth + 1):
            width = self._block(modules, block, width)
        width = self._end(modules, width, shape)
        modules["head"] = self.nn.Linear(width, outputs, bias=self.network.bias)
        if self.network.head:
            modules["head_act"] = self._activation(self.network.head)
        return self.nn.Sequential(OrderedDict(modules))

    # ------------------------------------------------------------------ before the hidden blocks

    def _start_of_mlp(self, modules: dict[str, Any], shape: tuple[int, ...]) -> int:
        if len(shape) > 1:
            modules["flatten"] = self.nn.Flatten()
        return math.prod(shape)

    def _start_of_cnn(self, _modules: dict[str, Any], shape: tuple[int, ...]) -> int:
        return shape[0]

    def _start_of_recurrent(self, modules: dict[str, Any], shape: tuple[int, ...]) -> int:
        cell = getattr(self.nn, self.network.cell)(shape[-1], self.network.width, batch_first=True)
        modules["cell"] = self.parts["Last"](cell)
        return self.network.width

    def _start_of_transformer(self, modules: dict[str, Any], shape: tuple[int, ...]) -> int:
        modules["embedding"] = self.nn.Linear(shape[-1], self.network.width)
        if self.network.has_positions:
            modules["positions"] = self.parts["Positions"](shape[0], self.network.width)
        return self.network.width

    # -------------------------------------------------------------------------- hidden blocks

    def _block(self, modules: dict[str, Any], block: int, width: int) -> int:
        network = self.network
        if network.architecture == "transformer":
            modules[f"hidden{block}"] = self.nn.TransformerEncoderLayer(
                width, 2, 2 * width, dropout=network.dropout, batch_first=True, **self.random
            )
            self._cut(modules, block)
            return width
        narrow = network.bottleneck and block == (network.depth + 1) // 2
        end = network.bottleneck if narrow else network.width
        inner = self._inner(block, width, end)
        if network.residual and width == end:
            modules[f"block{block}"] = self.parts["Residual"](OrderedDict(inner))
        else:
            modules |= inner
        if network.architecture == "cnn" and block <= 2:
            modules[f"pool{block}"] = self.nn.MaxPool2d(2)
        if network.dropout:
            modules[f"dropout{block}"] = self.nn.Dropout(network.dropout, **self.random)
        self._cut(modules, block)
        return end

    def _inner(self, block: int, width: int, end: int) -> dict[str, Any]:
        """The layer, its normalisation and its nonlinearity."""
        nn, network = self.nn, self.network
        is_cnn = network.architecture == "cnn"
        layer = nn.Conv2d(width, end, 3, padding=1) if is_cnn else nn.Linear(width, end, bias=network.bias)
        inner = {f"hidden{block}": layer}
        if network.norm == "batch":
            inner[f"norm{block}"] = (nn.BatchNorm2d if is_cnn else nn.BatchNorm1d)(end)
        elif network.norm == "layer":
            inner[f"norm{block}"] = nn.GroupNorm(1, end) if is_cnn else nn.LayerNorm(end)
        if network.activations[block - 1]:
            inner[f"act{block}"] = self._activation(network.activations[block - 1])
        return inner

    def _activation(self, name: str) -> Any:
        kind = getattr(self.nn, name)
        return kind(dim=1) if name in ("Softmax", "LogSoftmax") else kind()

    def _cut(self, modules: dict[str, Any], block: int) -> None:
        if self.network.cut == block:
            modules[f"cut{block}"] = self.parts["Cut"]()

    # ------------------------------------------------------------------- after the hidden blocks

    def _end(self, modules: dict[str, Any], width: int, shape: tuple[int, ...]) -> int:
        if self.network.architecture == "cnn":
            modules["flatten"] = self.nn.Flatten()
            halvings = 2 ** min(self.network.depth, 2)
            return width * (shape[-1] // halvings) ** 2
        if self.network.architecture == "transformer":
            modules["mean"] = self.parts["Mean"]()
        return width


# ------------------------------------------------------------------------------------- weights


def draw(model: Any, start: Start, network: Network, seed: int) -> None:
    """Fills every weight by the description; what normalises keeps its ones and zeros."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        array = array_of(parameter)
        if array.ndim >= 2:
            gain = start.gain * _own_gain(name, start, network)
            drawn = gain / math.sqrt(math.prod(array.shape[1:])) * rng.standard_normal(array.shape)
            array[...] = start.constant if _is_constant(name, start) else drawn
        elif "bias" in name and "norm" not in name:
            array[...] = start.bias if name == f"hidden{start.biased}.bias" else 0.0


def _own_gain(name: str, start: Start, network: Network) -> float:
    """The gain that one weight matrix is drawn with."""
    if name.startswith("head."):
        return start.head_gain
    if name.endswith("in_proj_weight"):
        return start.attention_gain
    if name.startswith(("cell.", "embedding.")) or "self_attn" in name:
        return 1.0
    if name == "positions.table":
        return 0.3
    return math.sqrt(2) if any("LU" in each for each in network.activations) else 1.0


def _is_constant(name: str, start: Start) -> bool:
    """Whether a weight matrix starts as one number; cells and attention are asymmetric by their gates anyway."""
    if start.constant is None:
        return False
    where = {"head": ("head.",), "first": ("hidden1.",), "all": ("",)}[start.constant_in]
    return name.startswith(where) or f".{where[0]}" in name


def array_of(parameter: Any) -> Any:
    """The numbers of a parameter as a NumPy array that shares its memory."""
    return parameter.array if hasattr(parameter, "array") else parameter.detach().numpy()


def weight_layers(model: Any) -> list[str]:
    """Names of the layers that have a weight matrix, in the order of the model."""
    owners = (name.rpartition(".")[0] for name, parameter in model.named_parameters() if parameter.ndim >= 2)
    return list(dict.fromkeys(owners))


def _tensor(framework: str, array: Any) -> Any:
    return import_module("torch").from_numpy(array) if framework == "torch" else array
