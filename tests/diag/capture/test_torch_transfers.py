"""What recording brings over from an accelerator: one transfer a recorded step, none on the others."""

import sys
from itertools import islice

import pytest

import diag
from probes.arrays import detached, readable

torch = pytest.importorskip("torch")
from torch.overrides import TorchFunctionMode  # noqa: E402  torch is needed to define them
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from benchmarks.waits import waits  # noqa: E402
from tests.diag.capture import torch_traps as traps  # noqa: E402

nn = torch.nn
STEPS, EVERY = 6, 2

READ = {torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist, torch.Tensor.cpu}
# What an accelerator would have to finish first, for the host to go on by its numbers.
AWAITED = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "is_nonzero"}


class Reads(TorchFunctionMode):
    """Counts reads of whole tensors by the host, each but once."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, arguments=(), named=None):
        self.count += function in READ
        return function(*arguments, **(named or {}))


class Waits(TorchDispatchMode):
    """Counts operations that make the host wait for numbers."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.count += function.overloadpacket.__name__ in AWAITED
        return function(*arguments, **(named or {}))


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def steps(watch, device="cpu", max_norm=None):
    """A training, step by step."""
    network, criterion = model().to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    watch(network, optimizer, criterion=criterion)
    x, y = traps.X.float().reshape(8, 1, 2, 3).to(device), traps.Y.to(device)
    while True:
        optimizer.zero_grad()
        criterion(network(x), y).backward()
        if max_norm:
            nn.utils.clip_grad_norm_(network.parameters(), max_norm)
        optimizer.step()
        yield


@pytest.fixture
def without_views(monkeypatch):
    """Tensors on the CPU are measured as those elsewhere are: without NumPy's views."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("probes", "diag") and getattr(module, "readable", None) is readable:
            monkeypatch.setattr(module, "readable", detached)


@pytest.mark.parametrize("max_norm", [None, 0.05], ids=["plain", "clipped"])
@pytest.mark.usefixtures("without_views")
def test_a_recorded_step_is_read_in_one_go_and_the_others_not_at_all(tmp_path, max_norm):
    counts = []
    with diag.Recorder(tmp_path / "run", every=EVERY) as recorder, Reads() as reads, Waits() as awaited:
        for _ in islice(steps(recorder.watch, max_norm=max_norm), STEPS):
            counts.append(reads.count + awaited.count)
            reads.count = awaited.count = 0
    assert counts == [1, 0] * (STEPS // EVERY)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator")
@pytest.mark.parametrize("max_norm", [None, 0.05], ids=["plain", "clipped"])
def test_on_an_accelerator_a_recorded_step_waits_for_it_once(tmp_path, max_norm):
    with diag.Recorder(tmp_path / "run", every=EVERY) as recorder:
        training = steps(recorder.watch, "cuda", max_norm)
        counts = [waits(lambda: next(training)) for _ in range(STEPS)]
    assert counts[EVERY:] == [1, 0] * (STEPS // EVERY - 1)
