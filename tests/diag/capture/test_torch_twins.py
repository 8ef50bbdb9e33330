"""The same network in scratchnet and in PyTorch: the same events, the same series, to the last digits."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import diag
import scratchnet as sn
from diag.events import Criterion
from tests.diag.capture.heard import listening

torch = pytest.importorskip("torch")

STEPS = 4
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 12)


def mlp(nn, named):
    layers = [
        nn.Linear(5, 7, **named),
        nn.Tanh(),
        nn.Linear(7, 6, **named),
        nn.ReLU(),
        nn.Linear(6, 3, **named),
    ]
    return nn.Sequential(*layers)


def cnn(nn, named):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, **named),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3, **named),
    )


def lstm(nn, named):
    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(5, 6, batch_first=True, **named)
            self.head = nn.Linear(6, 3, **named)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return Net()


def transformer(nn, named):
    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **named)
            self.head = nn.Linear(8, 3, **named)

        def forward(self, x):
            return self.head(self.layer(x)[:, 0])

    return Net()


def in_turn(model, x):
    """What each layer of a chain gives."""
    outputs = {}
    for name, layer in model.named_children():
        outputs[name] = x = layer(x)
    return outputs


def of_lstm(model, x):
    states = model.lstm(x)[0]
    return {"lstm": states, "head": model.head(states[:, -1])}


def of_transformer(model, x):
    layer = model.layer
    attended = layer.self_attn(x, x, x)[0]
    middle = layer.norm1(x + attended)
    hidden = layer.linear1(middle)
    wide = torch.relu(hidden)
    narrow = layer.linear2(wide)
    out = layer.norm2(middle + narrow)
    return {
        "layer.self_attn.out_proj": attended,
        "layer.self_attn": attended,
        "layer.dropout1": attended,
        "layer.norm1": middle,
        "layer.linear1": hidden,
        "layer.dropout": wide,
        "layer.linear2": narrow,
        "layer.dropout2": narrow,
        "layer.norm2": out,
        "head": model.head(out[:, 0]),
    }


class Case(NamedTuple):
    make: Any
    shape: tuple[int, ...]
    outputs: Any


CASES = {
    "mlp": Case(mlp, (12, 5), in_turn),
    "cnn": Case(cnn, (12, 1, 4, 4), in_turn),
    "lstm": Case(lstm, (12, 4, 5), of_lstm),
    "transformer": Case(transformer, (12, 4, 8), of_transformer),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request):
    return request.param


def sgd(optim, parameters):
    return optim.SGD(parameters, lr=0.1, momentum=0.9)


ADAPTIVE = {
    "adam": lambda optim, parameters: optim.Adam(parameters, lr=0.01),
    "amsgrad": lambda optim, parameters: optim.AdamW(parameters, lr=0.01, amsgrad=True),
    "rmsprop": lambda optim, parameters: optim.RMSprop(parameters, lr=0.01, momentum=0.5),
}


class Run:
    """One framework's side of a pair of twins."""

    def __init__(self, nn, optim, model, array, move=sgd):
        self.model, self.array = model, array
        self.optimizer = move(optim, model.parameters())
        self.criterion = nn.CrossEntropyLoss()

    def loss(self, x):
        return self.criterion(self.model(self.array(x)), self.array(LABELS))

    def chunk_loss(self, x, part):
        rows = slice(4 * part, 4 * part + 4)
        return self.criterion(self.model(self.array(x[rows])), self.array(LABELS[rows]))

    def step(self, x, clip=None):
        loss = self.loss(x)
        self.optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            clip(self.model.parameters())
        self.optimizer.step()


def twins(case, move=sgd):
    torch.manual_seed(0)
    model = case.make(torch.nn, {}).double()
    twin = case.make(sn.nn, {"rng": 0})
    twin.double()
    twin.load_state_dict({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    return Run(torch.nn, torch.optim, model, torch.from_numpy, move), Run(
        sn.nn, sn.optim, twin, lambda array: array, move
    )


def batch(case):
    return np.random.default_rng(1).standard_normal(case.shape)


def recorded(run, x, folder):
    with diag.Recorder(folder, every=1) as recorder:
        recorder.watch(run.model, run.optimizer, criterion=run.criterion)
        recorder.curvature(lambda: run.loss(x), every=2, k=2, samples=4)
        recorder.representation(lambda: run.loss(x), every=2)
        recorder.noise([partial(run.chunk_loss, x, part) for part in range(3)], examples=4, every=2)
        for _ in range(STEPS):
            run.step(x)
    return diag.Log(folder)


def test_twins_tell_the_same_events_in_the_same_order(case):
    heard = []
    for run in twins(case):
        heard.append(listening(run.model, run.optimizer, run.criterion, wants=frozenset({"output_gradient"})))
        run.step(batch(case))
    ours, theirs = heard
    assert ours.order() == theirs.order()
    assert ours.signals == theirs.signals
    for (kind, subject, tensor), (_, _, array) in zip(ours.events, theirs.events, strict=True):
        for one, other in zip(parts(tensor), parts(array), strict=True):
            assert np.allclose(one.numpy(), other, rtol=1e-10, atol=1e-13), (kind, subject)


def parts(told):
    """The arrays of an event, one by one."""
    return [part for some in told for part in parts(some)] if isinstance(told, list) else [told]


@pytest.fixture
def logs(case, tmp_path):
    return [recorded(run, batch(case), tmp_path / str(side)) for side, run in enumerate(twins(case))]


def test_twins_are_described_alike(logs):
    ours, theirs = logs
    assert ours.model.layers == theirs.model.layers
    assert ours.model.parameters == theirs.model.parameters
    assert ours.model.criteria == theirs.model.criteria == (Criterion("", "CrossEntropyLoss", "mean"),)
    assert [h.message for h in (*ours.happenings, *theirs.happenings)] == []


def test_every_recorded_series_of_twins_is_equal(logs):
    are_equal(*logs)


CLIPPINGS = {
    "the norm": lambda utils: partial(utils.clip_grad_norm_, max_norm=0.01),
    "each entry": lambda utils: partial(utils.clip_grad_value_, clip_value=0.01),
    "nothing in fact": lambda utils: partial(utils.clip_grad_norm_, max_norm=1e6),
}


@pytest.mark.parametrize("clipping", CLIPPINGS.values(), ids=CLIPPINGS.keys())
def test_where_gradients_are_clipped_the_norms_before_are_equal_in_twins(tmp_path, clipping):
    case, logs = CASES["mlp"], []
    for side, (run, nn) in enumerate(zip(twins(case), (torch.nn, sn.nn), strict=True)):
        with diag.Recorder(tmp_path / str(side), every=1) as recorder:
            recorder.watch(run.model, run.optimizer, criterion=run.criterion)
            for _ in range(STEPS):
                run.step(batch(case), clipping(nn.utils))
        logs.append(diag.Log(tmp_path / str(side)))
    are_equal(*logs)
    assert np.isfinite(logs[1].series("gradient_norm_before_clipping").values).all()


@pytest.mark.parametrize("move", ADAPTIVE.values(), ids=ADAPTIVE.keys())
def test_the_curvature_that_an_adaptive_optimiser_sees_is_equal_in_twins(tmp_path, move):
    case = CASES["mlp"]
    ours, theirs = (
        recorded(run, batch(case), tmp_path / str(side)) for side, run in enumerate(twins(case, move))
    )
    are_equal(ours, theirs)
    assert np.isfinite(ours.series("preconditioned_top_eigenvalue").values[1:]).all()


def test_an_evaluation_in_training_mode_is_counted_in_both_and_one_in_evaluation_mode_in_neither(tmp_path):
    case = CASES["mlp"]
    for side, (run, no_tape) in enumerate(zip(twins(case), (torch.no_grad, sn.no_grad), strict=True)):
        with diag.Recorder(tmp_path / str(side), every=1) as recorder:
            recorder.watch(run.model, run.optimizer, criterion=run.criterion)
            for step in range(4):
                run.model.train(step == 2)
                with no_tape():
                    run.loss(batch(case))
                run.model.train()
                run.step(batch(case))
        counts = diag.Log(tmp_path / str(side)).series("training_mode_evaluations")
        assert counts.values[:, 0].tolist() == [0, 0, 1, 0]


def are_equal(ours, theirs):
    assert ours.names == theirs.names
    for axis, name in [(axis, name) for axis, names in ours.names.items() for name in names]:
        if name in ("wall_time", "recording_seconds"):
            continue
        one, other = ours.series(name, of=axis), theirs.series(name, of=axis)
        assert one.columns == other.columns
        assert np.array_equal(one.steps, other.steps)
        assert np.allclose(one.values, other.values, rtol=1e-10, atol=1e-13, equal_nan=True), (axis, name)


def test_the_recorded_series_are_what_plain_torch_gives(case, logs):
    run, _ = twins(case)
    x = torch.from_numpy(batch(case))
    norms: dict[str, list[list[float]]] = {name: [] for name in ("weight", "gradient", "update")}
    means, sizes, losses = [], [], []
    for _ in range(STEPS):
        with torch.no_grad():
            outputs = case.outputs(run.model, x)
        means.append([float(output.mean()) for output in outputs.values()])
        sizes.append([float(output.square().mean().sqrt()) for output in outputs.values()])
        loss = torch.nn.functional.cross_entropy(run.model(x), torch.from_numpy(LABELS))
        losses.append(loss.item())
        run.optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in run.model.parameters()]
        run.optimizer.step()
        norms["weight"].append([float(b.norm()) for b in before])
        norms["gradient"].append([float(p.grad.norm()) for p in run.model.parameters()])
        after = zip(run.model.parameters(), before, strict=True)
        norms["update"].append([float((p.detach() - b).norm()) for p, b in after])
    log = logs[0]
    assert log.series("activation_mean").columns == tuple(outputs)
    assert np.allclose(log.series("activation_mean").values, means, rtol=1e-10, atol=1e-13)
    assert np.allclose(log.series("activation_rms").values, sizes, rtol=1e-10, atol=1e-13)
    assert np.allclose(log.series("criterion_loss").values[:, 0], losses, rtol=1e-10)
    names = [name for name, _ in run.model.named_parameters()]
    for kind, rows in norms.items():
        series = log.series(f"{kind}_norm", of="parameters")
        expected = np.transpose([np.array(rows)[:, names.index(column)] for column in series.columns])
        assert np.allclose(series.values, expected, rtol=1e-10, atol=1e-13), kind
