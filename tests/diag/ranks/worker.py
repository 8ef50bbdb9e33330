"""One rank of several that train together: ``python worker.py FOLDER RANK WORLD_SIZE SCENARIO…``

Each scenario is a training of its own, in a folder of that name, and keeps what plain torch says of it.
"""

import os
import signal
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed import destroy_process_group, get_rank, get_world_size, init_process_group

import diag

STEPS = 6
MAX_NORM = 0.05
DRIFT_AT = 3
DIES_AT = 300
X = torch.linspace(-2, 2, 192, dtype=torch.float64).reshape(32, 6).sin()
Y = torch.arange(32) % 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def averaging(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def normalising(model: nn.Module) -> nn.Module:
    """With statistics of the batch, which ranks take over from the first before each pass."""
    return averaging(nn.Sequential(model, nn.BatchNorm1d(3).double()))


def sharded(model: nn.Module) -> nn.Module:
    return _fully_sharded(model, (get_world_size(),))


def hybrid(model: nn.Module) -> nn.Module:
    """Spread over pairs of ranks, each pair with a copy."""
    return _fully_sharded(model, (get_world_size() // 2, 2))


def _fully_sharded(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("copies", "parts")[-len(shape) :])
    for layer in (model[0], model[2], model):  # type: ignore[index]
        fully_shard(layer, mesh=mesh)
    return model


def train(
    folder: Path,
    wrapped: Any = averaging,
    is_recorded: bool = True,
    before_step: Any = None,
    max_norm: float | None = None,
    look: Any = lambda *_: None,
) -> None:
    """Trains on every n-th example, and keeps norms of whole gradients, activations and the last weights."""
    rank, kept, layers = get_rank(), [], []
    rows = slice(rank, None, get_world_size())
    network_ = network()
    layer, model = network_[1], wrapped(network_)
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), nn.CrossEntropyLoss()
    layer.register_forward_hook(lambda _, __, output: layers.append(output.detach().numpy()))
    with ExitStack() as stack:
        if is_recorded:
            recorder = stack.enter_context(diag.Recorder(folder, every=1, config={"seed": 0}))
            recorder.watch(model, optimizer, criterion=criterion)
            look(recorder, lambda: criterion(model(X[rows]), Y[rows]))
        for step in range(DIES_AT + 5 if before_step is die else STEPS):
            if before_step is not None:
                before_step(step, model)
            optimizer.zero_grad()
            loss = criterion(model(X[rows]), Y[rows])
            loss.backward()
            kept.append([_norm(p.grad) for p in model.parameters()] + [loss.item()])
            if max_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
    weights = [_whole(p.detach()).numpy().ravel() for p in (*model.parameters(), *model.buffers())]
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"truth{rank}.npz", kept=kept, relu=layers, weights=np.concatenate(weights))


def look_alone(recorder: diag.Recorder, closure: Any) -> None:
    """The first rank takes every look at every step, and the others none: whoever waited would wait for ever."""
    if get_rank() == 0:
        recorder.representation(closure, every=1)
        recorder.noise([closure, closure], examples=8, every=1)
        recorder.curvature(closure, every=1, k=1, samples=2)


def drift(step: int, model: nn.Module) -> None:
    """From this step on the last rank but one holds another number in its last place."""
    if step == DRIFT_AT and get_rank() == get_world_size() - 1:
        with torch.no_grad():
            bias = next(reversed(list(model.parameters())))
            bias[1] = torch.nextafter(bias[1], bias[1] + 1)


def die(step: int, _model: nn.Module) -> None:
    if step == DIES_AT and get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _whole(tensor: Any) -> Any:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _norm(tensor: Any) -> float:
    return float(_whole(tensor).norm())


SCENARIOS: dict[str, dict[str, Any]] = {
    "bare": {"is_recorded": False},
    "recorded": {},
    "drifting": {"before_step": drift},
    "dying": {"before_step": die},
    "bare_normalised": {"wrapped": normalising, "is_recorded": False},
    "looking": {"wrapped": normalising, "look": look_alone},
    "bare_sharded": {"wrapped": sharded, "is_recorded": False},
    "sharded": {"wrapped": sharded},
    "bare_hybrid": {"wrapped": hybrid, "is_recorded": False},
    "hybrid": {"wrapped": hybrid},
    "bare_clipped": {"max_norm": MAX_NORM, "is_recorded": False},
    "clipped": {"max_norm": MAX_NORM},
}


def main(folder: Path, rank: int, world_size: int, *scenarios: str) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    for scenario in scenarios:
        train(folder / scenario, **SCENARIOS[scenario])
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    # All is done and written; at the interpreter's exit a thread of gloo's now and then aborts the process.
    os._exit(0)
