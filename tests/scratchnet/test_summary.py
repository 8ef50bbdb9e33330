"""The summary of a network: shapes, parameters and operations, counted as PyTorch counts them."""

import importlib
import json
import pkgutil
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import tests.scratchnet.blocks as table
from scratchnet import nn
from scratchnet.flops import RULES, flops, flops_of
from scratchnet.summary import Row, Summary, summary
from tests.scratchnet.blocks.contract import Case

# Kinds whose matrix products PyTorch's counter sees too; it counts nothing else.
PRODUCTS = {
    *("Linear", "MultiheadAttention", "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"),
    *("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"),
}


def _layers() -> Iterator[Case]:
    for found in pkgutil.iter_modules(table.__path__):
        for case in getattr(importlib.import_module(f"{table.__name__}.{found.name}"), "CASES", ()):
            if not case.block.endswith("Loss"):
                yield case


LAYERS = list(_layers())
WITH_PRODUCTS = [
    case for case in LAYERS if PRODUCTS & {type(module).__name__ for module in case.make(nn).modules()}
]


class Called(nn.Module):
    """A block, called as its case wants it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.block = case.make(nn)
        self.call = case.call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.block, *inputs)


def twin_flops(case: Case, library: Any) -> int:
    """What PyTorch's counter says, in whose training mode no fused operation hides from it."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    block = (case.twin or case.make)(library.nn).double().train()
    inputs = [library.from_numpy(np.array(x)) for x in case.inputs(3)]
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        # It complains of slowness in ways that do not matter here.
        warnings.simplefilter("ignore")
        case.call(block, *inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("case", WITH_PRODUCTS, ids=lambda case: case.id)
def test_products_are_counted_as_torch_counts_them(case: Case) -> None:
    torch = pytest.importorskip("torch")
    found = summary(Called(case).double(), *case.inputs(3))
    assert sum(row.flops or 0 for row in found.rows if row.kind in PRODUCTS) == twin_flops(case, torch)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_parameters_are_counted_as_torch_counts_them(case: Case) -> None:
    pytest.importorskip("torch")
    from torch import nn as torch_nn

    twin = (case.twin or case.make)(torch_nn)
    found = summary(Called(case).double(), *case.inputs(3))
    assert found.parameters == sum(parameter.numel() for parameter in twin.parameters())
    assert sum(row.parameters for row in found.rows) == found.parameters


def test_every_kind_of_layer_has_a_rule() -> None:
    kinds = {value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, nn.Module)}
    layers = {kind for kind in kinds if kind.forward is not nn.Module.forward and "Loss" not in kind.__name__}
    assert sorted(kind.__name__ for kind in layers - RULES.keys()) == []


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Sequential(nn.Linear(128, 10, rng=1), nn.Dropout(0.5, rng=2)),
    )


IMAGES = np.zeros((2, 3, 8, 8), np.float32)


def test_each_module_has_a_row_with_its_shapes() -> None:
    found = summary(network(), IMAGES)
    assert [(row.name, row.kind) for row in found.rows] == [
        ("", "Sequential"),
        ("0", "Conv2d"),
        ("1", "ReLU"),
        ("2", "MaxPool2d"),
        ("3", "Flatten"),
        ("4", "Sequential"),
        ("4.0", "Linear"),
        ("4.1", "Dropout"),
    ]
    assert found.rows[1] == Row(
        "0", "Conv2d", ((2, 3, 8, 8),), ((2, 8, 8, 8),), 8 * 27 + 8, 2 * 27 * 8 * 128, 1
    )
    assert [row.output_shapes for row in found.rows[2:5]] == [((2, 8, 8, 8),), ((2, 8, 4, 4),), ((2, 128),)]
    assert [row.flops for row in found.rows[2:]] == [1024, 4 * 256, 0, 0, 2 * 2 * 128 * 10, 0]
    assert found.flops == sum(row.flops or 0 for row in found.rows)
    assert not found.is_lower_bound


def test_several_inputs_and_outputs_all_have_their_shapes() -> None:
    attention = nn.MultiheadAttention(4, 2, rng=0)
    row = summary(attention, np.zeros((5, 3, 4)), np.zeros((7, 3, 4)), np.zeros((7, 3, 4))).rows[0]
    assert row.input_shapes == ((5, 3, 4), (7, 3, 4), (7, 3, 4))
    assert row.output_shapes == ((5, 3, 4), (3, 5, 7))
    found = summary(nn.LSTM(4, 3, num_layers=2, rng=0), np.zeros((5, 2, 4)))
    assert found.rows[0].output_shapes == ((5, 2, 3), (2, 2, 3), (2, 2, 3))


@pytest.mark.parametrize(
    ("module", "x", "expected"),
    [
        (nn.Tanh(), np.zeros((2, 3)), 6),
        (nn.GLU(), np.zeros((2, 6)), 12),
        (nn.SwiGLU(4, 8, rng=0), np.zeros((5, 4)), 2 * 5 * 8),
        (nn.LayerNorm(4), np.zeros((3, 4)), 7 * 12),
        (nn.LayerNorm(4, elementwise_affine=False), np.zeros((3, 4)), 5 * 12),
        (nn.RMSNorm(4), np.zeros((3, 4)), 4 * 12),
        (nn.GroupNorm(2, 4), np.zeros((3, 4)), 7 * 12),
        (nn.BatchNorm1d(4), np.zeros((3, 4)), 2 * 12),
        (nn.BatchNorm1d(4, track_running_stats=False), np.zeros((3, 4)), 7 * 12),
        (nn.InstanceNorm1d(4), np.zeros((3, 4, 2)), 5 * 24),
        (nn.LocalResponseNorm(3), np.zeros((3, 4, 1)), 8 * 12),
        (nn.RotaryEmbedding(4), np.zeros((3, 4)), 3 * 12),
        (nn.Embedding(9, 4, rng=0), np.zeros((3, 2), int), 0),
        (nn.AvgPool1d(3, stride=1), np.zeros((2, 3, 7)), 2 * 3 * 5 * 3),
        (nn.MaxPool2d((2, 3)), np.zeros((1, 2, 4, 6)), 2 * 4 * 6),
        # Windows over 5 elements: [0, 2), [1, 4), [3, 5).
        (nn.AdaptiveAvgPool1d(3), np.zeros((2, 4, 5)), 2 * 4 * 7),
        (nn.AdaptiveMaxPool2d((1, 2)), np.zeros((1, 2, 3, 4)), 2 * 12),
        (nn.Upsample(scale_factor=2), np.zeros((1, 2, 3)), 0),
        (nn.Upsample(scale_factor=2, mode="linear"), np.zeros((1, 2, 3)), 3 * 12),
        (nn.TransformerEncoderLayer(4, 2, 8, rng=0), np.zeros((5, 3, 4)), 2 * 60 + 15 * 8),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_torch_does_not_count_is_counted_as_the_rules_say(module, x, expected) -> None:
    row = summary(module.double(), x).rows[0]
    assert row.flops == expected


def test_a_bilinear_layer_and_a_graph_convolution_have_two_inputs() -> None:
    first = summary(nn.Bilinear(3, 4, 2, rng=0).double(), np.zeros((5, 3)), np.zeros((5, 4)))
    assert first.rows[0].flops == 2 * 5 * (3 * 4 * 2 + 4 * 2)
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    for adjacency in (path, csr_array(path)):
        second = summary(nn.GCNConv(4, 2, rng=0).double(), np.zeros((6, 3, 4)), adjacency)
        assert second.rows[0].flops == 2 * 18 * 8 + 6 * 2 * (4 + 3) * 2
        assert second.rows[0].input_shapes == ((6, 3, 4), (3, 3))


def test_a_kind_without_a_rule_makes_the_total_a_lower_bound() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + x

    found = summary(nn.Sequential(nn.Linear(4, 3, rng=0), Doubled()), np.zeros((2, 4)))
    assert [row.flops for row in found.rows] == [0, 48, None]
    assert (found.flops, found.is_lower_bound) == (48, True)
    assert str(found).splitlines()[-3].split()[-1] == "-"
    assert str(found).splitlines()[-2].endswith("≥ 48")
    assert str(found).endswith("have no rule for FLOPs: the total is a lower bound.")


def test_users_add_rules_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + x

    for kind, rule in RULES.items():
        monkeypatch.setitem(RULES, kind, rule)
    monkeypatch.setitem(RULES, Doubled, None)
    flops_of(Doubled)(lambda module, inputs, output: output.size)
    assert summary(Doubled(), np.zeros((2, 4))).flops == 8
    with pytest.raises(TypeError, match="flops_of needs kinds of modules, got 3"):
        flops_of(3)  # type: ignore[arg-type]


def test_a_subclass_is_counted_as_its_ancestor_unless_it_computes_something_else() -> None:
    class Renamed(nn.Linear):
        pass

    class Other(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 2

    x = np.zeros((2, 4))
    assert flops(Renamed(4, 3, rng=0), (x,), np.zeros((2, 3))) == 48
    assert flops(Other(4, 3, rng=0), (x,), np.zeros((2, 3))) is None
    assert flops(nn.Linear(4, 3, rng=0), (), np.zeros((2, 3))) is None


class Twice(nn.Module):
    """Uses one layer twice and another never."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(4, 4, rng=0)
        self.unused = nn.Linear(4, 9, rng=1)
        self.tied = nn.Linear(4, 4, rng=2)
        self.tied.weight = self.used.weight
        self.tied.bias = None

    def forward(self, x: Any) -> Any:
        return self.tied(self.used(self.used(x)))


def test_what_is_shared_is_counted_once_and_what_runs_twice_costs_twice() -> None:
    found = summary(Twice(), np.zeros((3, 4)))
    rows = {row.name: row for row in found.rows}
    assert (rows["used"].calls, rows["used"].flops, rows["used"].parameters) == (2, 2 * 96, 20)
    assert (rows["unused"].calls, rows["unused"].flops, rows["unused"].output_shapes) == (0, 0, ())
    assert (rows["tied"].flops, rows["tied"].parameters) == (96, 0)
    assert found.parameters == 20 + 45
    assert "Linear ×2" in str(found)


def test_frozen_parameters_are_told_apart() -> None:
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Linear(3, 2, rng=1))
    next(model.parameters()).requires_grad = False
    found = summary(model, np.zeros((1, 4)))
    assert (found.parameters, found.trainable_parameters) == (23, 11)
    assert str(found).endswith("12 of the parameters are frozen.")


def test_as_text_it_is_an_aligned_table() -> None:
    lines = str(summary(network(), IMAGES)).splitlines()
    assert lines[0].split() == ["name", "kind", "input", "output", "parameters", "FLOPs"]
    assert lines[1].split()[0] == "(root)"
    assert len({len(line) for line in lines}) == 1
    assert lines[2].index("(2, 3, 8, 8)") == lines[0].index("input")
    assert lines[-1].split() == ["total", "1,514", "62,464"]


def test_as_json_it_is_plain() -> None:
    found = summary(network(), IMAGES)
    plain = json.loads(json.dumps(found.to_json()))
    assert plain == found.to_json()
    assert plain["rows"][1]["input_shapes"] == [[2, 3, 8, 8]]
    assert (plain["flops"], plain["is_lower_bound"]) == (found.flops, False)


# ----------------------------------------------------------------------------- the network afterwards


class Restless(nn.Module):
    """Changes a buffer in place, replaces another and draws numbers, whatever its mode."""

    seen: np.ndarray[Any, Any]
    last: np.ndarray[Any, Any]

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)
        self.register_buffer("seen", np.zeros(1))
        self.register_buffer("last", np.zeros(1))

    def forward(self, x: Any) -> Any:
        self.seen += 1
        self.last = np.array([float(self.generator.random())])
        if np.shape(x)[0] == 13:
            raise ValueError("thirteen")
        return x


@pytest.mark.parametrize("batch", [2, 13], ids=["runs", "raises"])
def test_the_network_is_left_as_it_was(batch: int) -> None:
    restless = Restless()
    model = nn.Sequential(nn.Linear(4, 4, rng=0), restless, nn.Sequential(nn.Dropout(0.5, rng=1)).eval())
    heard: list[Any] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: heard.append(module))
    buffers, modes = [restless.seen, restless.last], [module.training for module in model.modules()]
    expected = np.random.default_rng(0).random()
    try:
        summary(model, np.zeros((batch, 4), np.float32))
    except ValueError:
        assert batch == 13
    assert heard == []
    assert [module.training for module in model.modules()] == modes
    assert all(now is before for now, before in zip([restless.seen, restless.last], buffers, strict=True))
    assert [array.tolist() for array in buffers] == [[0.0], [0.0]]
    assert restless.generator.random() == expected
    assert all(parameter.grad is None for parameter in model.parameters())
    model(np.zeros((2, 4), np.float32))
    assert heard == [model[0], restless, model[2][0], model[2], model]  # type: ignore[index]


def test_nothing_is_recorded() -> None:
    outputs = []

    class Listening(nn.Linear):
        def forward(self, x: Any) -> Any:
            outputs.append(super().forward(x))
            return outputs[-1]

    assert isinstance(summary(Listening(4, 3, rng=0), np.zeros((2, 4))), Summary)
    assert not outputs[0].requires_grad
