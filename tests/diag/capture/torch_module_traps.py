"""Trainings in PyTorch of modules that hooks are known to hear wrongly; see `torch_traps`."""

from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.diag.capture.torch_traps import Parts, X, mlp, plain, sgd, train  # noqa: E402  it needs torch

nn = torch.nn


def tied(watch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(24, 4), nn.Linear(4, 3, bias=False))
    model[3].weight = model[0].weight
    return plain(watch, model.double(), (X * 10).long().abs() % 3)


def shared(watch):
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)
    return plain(watch, nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), layer, nn.Linear(6, 3)).double())


def checkpointed(watch, reentrant=False):
    from torch.utils.checkpoint import checkpoint

    def run(model, x):
        return model.head(checkpoint(model.body, model.first(x), use_reentrant=reentrant))

    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 6), nn.ReLU())
    return plain(watch, Parts(run, first=nn.Linear(6, 6), body=body, head=nn.Linear(6, 3)).double())


def checkpointed_reentrant(watch):
    return checkpointed(watch, reentrant=True)


def compiled(watch):
    torch.compiler.reset()
    return plain(watch, torch.compile(mlp(), backend="aot_eager"))


def compiled_afterwards(watch):
    torch.compiler.reset()
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    train(torch.compile(model, backend="aot_eager"), optimizer)
    return [model]


def compiled_in_place(watch):
    torch.compiler.reset()
    model = mlp()
    model.compile(backend="aot_eager")
    return plain(watch, model)


def in_place(watch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3), nn.ELU(inplace=True))
    return plain(watch, model.double())


def frozen_encoder(watch):
    """A fused encoder in evaluation mode inside a model that trains."""

    def run(model, x):
        return model.head(model.encoder(x.unsqueeze(1))[:, 0])

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(False)
    model = Parts(run, encoder=encoder, head=nn.Linear(6, 3)).float()
    encoder.eval()
    return plain(watch, model, X.float())


def recurrent(watch):
    def run(model, x):
        packed = nn.utils.rnn.pack_padded_sequence(x.reshape(8, 3, 2), [3] * 8, batch_first=True)
        return model.head(model.gru(packed)[1][0])

    torch.manual_seed(0)
    return plain(watch, Parts(run, gru=nn.GRU(2, 4, batch_first=True), head=nn.Linear(4, 3)).double())


def attention(watch):
    def run(model, x):
        sequence = x.reshape(8, 3, 2)
        return model.head(model.attention(sequence, sequence, sequence)[0].flatten(1))

    torch.manual_seed(0)
    mixing = nn.MultiheadAttention(2, 1, dropout=0.1, batch_first=True)
    return plain(watch, Parts(run, attention=mixing, head=nn.Linear(6, 3)).double())


def autocast(watch):
    def run(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return model.second(model.first(x).relu())

    torch.manual_seed(0)
    return plain(watch, Parts(run, first=nn.Linear(6, 5), second=nn.Linear(5, 3)), X.float())


class Opaque(nn.Linear):  # type: ignore[misc, name-defined]
    """Gives an object that nobody can look into."""

    def forward(self, x):
        output = super().forward(x)
        return lambda: output


def opaque(watch):
    def run(model, x):
        return model.second(model.first(x)().relu())

    torch.manual_seed(0)
    return plain(watch, Parts(run, first=Opaque(6, 5), second=nn.Linear(5, 3)).double())


def named_batch(watch):
    def run(model, batch):
        return model.head(batch["x"])

    torch.manual_seed(0)
    return plain(watch, Parts(run, head=nn.Linear(6, 3)).double(), {"words": ["no"] * 8, "x": X})


@dataclass
class Spoken:
    logits: Any
    hidden: Any = None


class Dictionary(nn.Linear):  # type: ignore[misc, name-defined]
    def forward(self, x):
        return {"note": "in words", "logits": super().forward(x)}


class Structure(nn.Linear):  # type: ignore[misc, name-defined]
    def forward(self, x):
        return Spoken(super().forward(x))


def structured(watch):
    def run(model, x):
        return model.second(model.first(x)["logits"]).logits

    torch.manual_seed(0)
    return plain(watch, Parts(run, first=Dictionary(6, 5), second=Structure(5, 3)).double())


def sparse(watch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(24, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return plain(watch, model, (X * 10).long().abs() % 5, optimizer)


def channels_last(watch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 2, 3)).double()
    x = torch.cat([X, X], dim=1).reshape(8, 2, 2, 3).to(memory_format=torch.channels_last)
    return plain(watch, model.to(memory_format=torch.channels_last), x)


def bfloat16(watch):
    return plain(watch, mlp().bfloat16(), X.bfloat16())


def complex_valued(watch):
    def run(model, x):
        return model.head((x * model.first.phases).abs())

    torch.manual_seed(0)
    first = nn.Module()
    first.phases = nn.Parameter(torch.randn(6, dtype=torch.complex128))
    model = Parts(run, first=first, head=nn.Linear(6, 3).double())
    return plain(watch, model)


def parametrized(watch):
    model = mlp()
    nn.utils.parametrizations.weight_norm(model[0])
    return plain(watch, model)


MODULES = [
    tied,
    shared,
    checkpointed,
    checkpointed_reentrant,
    compiled,
    compiled_afterwards,
    compiled_in_place,
    in_place,
    frozen_encoder,
    attention,
    autocast,
    opaque,
    named_batch,
    recurrent,
    structured,
    sparse,
    channels_last,
    bfloat16,
    complex_valued,
    parametrized,
]
