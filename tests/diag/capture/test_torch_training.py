"""Whatever the training in PyTorch, it is bit for bit the same with the recorder and without."""

import pytest

import diag

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them


def states(train, watch):
    torch.manual_seed(1)
    return [{name: value.clone() for name, value in model.state_dict().items()} for model in train(watch)]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("train", [*traps.LOOPS, *traps.MODULES], ids=lambda train: train.__name__)
def test_training_is_bit_identical_with_and_without_the_recorder(train, every, tmp_path):
    alone = states(train, lambda *_, **__: None)
    with diag.Recorder(tmp_path / "run", every=every) as recorder:
        watched = states(train, recorder.watch)
    for one, other in zip(alone, watched, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert [h.message for h in diag.Log(tmp_path / "run").happenings if h.kind == "failure"] == []
