"""Whatever the training in PyTorch, and whatever fails in diag, training is bit for bit the same without it."""

import pytest

import diag

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_module_traps as module_traps  # noqa: E402  torch is needed to define them
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them


def states(train, watch):
    torch.manual_seed(1)
    return [{name: value.clone() for name, value in model.state_dict().items()} for model in train(watch)]


def unwatched(*_, **__):
    """In place of `Recorder.watch`."""


def assert_same(trained, expected):
    for one, other in zip(trained, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name].isnan(), other[name].isnan())
            assert torch.equal(one[name].nan_to_num(), other[name].nan_to_num())


every_trap = pytest.mark.parametrize(
    "train", [*traps.LOOPS, *module_traps.MODULES], ids=lambda train: train.__name__
)


@pytest.mark.parametrize("every", [1, 2])
@every_trap
def test_training_is_bit_identical_with_and_without_the_recorder(train, every, tmp_path):
    with diag.Recorder(tmp_path / "run", every=every) as recorder:
        watched = states(train, recorder.watch)
    assert_same(watched, states(train, unwatched))
    assert [h.message for h in diag.Log(tmp_path / "run").happenings if h.kind == "failure"] == []


def fail(*_, **__):
    raise RuntimeError("out of coffee")


FAILING = {
    "hooks": (
        "diag.capture.torch.capture.first_tensor",
        "diag.capture.torch.capture.lent",
        "diag.capture.torch.clipping.Clipping.keep",
        "diag.capture.torch.clipping.Clipping.norms",
        "diag.capture.torch.passes._when_backward_ends",
    ),
    "measurements": ("diag.recorder.Measure.hear", "diag.recorder.Measure.take"),
    "sinks": ("diag.recorder.LogWriter.write", "diag.recorder.Board.write"),
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
@every_trap
def test_whatever_fails_in_diag_is_told_and_never_reaches_the_training(train, failing, tmp_path, monkeypatch):
    expected = states(train, unwatched)
    for name in failing:
        monkeypatch.setattr(name, fail)
    with pytest.warns(diag.DiagWarning, match="out of coffee; training goes on without it"):
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            trained = states(train, recorder.watch)
    assert_same(trained, expected)
