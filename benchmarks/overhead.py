"""What recording costs: a training step with diag over the same step without, beside what people use today.

The limits are what every user should be able to count on: 1.25 × at every step (1.4 × for twenty layers
of 256, whose steps are short), 1.05 × at every tenth, 1.01 × at every hundredth. The same training a second time,
with nobody who listens, tells what such a ratio is worth on the machine. Cockpit and wandb run where
they are installed, an environment of their own: ``.venv-peers``, or the interpreter that
``SCRATCHDIAG_PEERS`` names. Memory is that of whole processes, with and without diag. Where there is a CUDA
device, PyTorch trains on it too, and it is counted how often recording makes the host wait for it.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks import overhead_memory
from benchmarks.networks import NETWORKS, Network
from benchmarks.overhead_peers import peers
from benchmarks.rivals import RIVALS
from benchmarks.timing import Row, ratios, row, seconds
from benchmarks.training import Listen, recording, training
from diag.capture import FRAMEWORKS

LIMITS = {1: 1.25, 10: 1.05, 100: 1.01}
DEEP_LIMITS = {**LIMITS, 1: 1.40}
CASES = {
    "MLP 784-512-512-10, batch 128": LIMITS,
    "MLP of 20 layers of 256, batch 64": DEEP_LIMITS,
    "CNN 16-32 on 8×8, batch 64": LIMITS,
    "transformer encoder layer 128-512, 4 heads, 64 positions, batch 16": LIMITS,
}
# The longest interval between recorded steps, of which a turn holds a whole number.
STEPS_A_TURN = 100
SECONDS_A_TURN = 0.25
TURNS = 36
# Some of the others take minutes for one.
TURNS_OF_OTHERS = 9
WARM_UP = 2


def run() -> Iterator[Row]:
    """Measures every case in every framework, with the whole default set and both sinks; then memory."""
    networks = {network.name: network for network in NETWORKS}
    frameworks = [framework for framework in FRAMEWORKS if find_spec(framework) is not None]
    for framework in frameworks:
        for case, limits in CASES.items():
            yield from _case(framework, networks[case], limits)
    for framework in frameworks:
        yield from overhead_memory.rows(framework)
    if _has_accelerator():
        for case, limits in CASES.items():
            yield from _case("torch", networks[case], limits, "cuda")
            yield _waits(networks[case])
    else:
        print("overhead: no rows of a CUDA device, for there is none")


def _has_accelerator() -> bool:
    return find_spec("torch") is not None and bool(import_module("torch.cuda").is_available())


def _waits(network: Network) -> Row:
    """How often a step that is recorded waits for the device, beside what training itself does."""
    from benchmarks.waits import waits

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listeners = None, recording(folder / "run", 1, stack)
        turns = [
            training("torch", network, listen, steps=STEPS_A_TURN, device="cuda") for listen in listeners
        ]
        # In the first turn everything is set up.
        _, _, bare, recorded = [waits(turn) for turn in (*turns, *turns)]
    waited = (recorded - bare) / STEPS_A_TURN
    return row(f"torch on cuda, {network.name}", [waited], 1.0, unit="waits for the device a recorded step")


def _case(framework: str, network: Network, limits: dict[int, float], device: str = "cpu") -> Iterator[Row]:
    def side(steps: int, listen: Listen | None = None) -> Callable[[], None]:
        return training(framework, network, listen, steps=steps, device=device)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        steps = _steps_a_turn(side(STEPS_A_TURN))
        # What the machine makes of two sides that are the same.
        ours = {"nothing, a second time": side(steps)}
        for every in limits:
            ours[f"every {every}"] = side(steps, recording(folder / f"every {every}", every, stack))
        found = ratios(side(steps), ours, turns=TURNS, warm_up=WARM_UP)
        if framework == "torch" and device == "cpu":
            rivals = {name: side(STEPS_A_TURN, start(folder / name, stack)) for name, start in RIVALS.items()}
            others = stack.enter_context(peers(network, folder / "peers"))
            found |= ratios(
                side(STEPS_A_TURN), rivals | {"peers": others}, turns=TURNS_OF_OTHERS, warm_up=WARM_UP
            )
            # They count their own time, beside that of a training in their own process.
            del found["peers"]
            found |= {name: values[WARM_UP:] for name, values in others.found.items()}
    where = framework if device == "cpu" else f"{framework} on {device}"
    for name, values in found.items():
        limit = {f"every {every}": limit for every, limit in limits.items()}.get(name)
        yield row(f"{where}, {network.name}, {name}", values, limit, unit="× the step without")


def _steps_a_turn(turn: Callable[[], None]) -> int:
    """As many as take a quarter of a second or so: many short turns are fooled less than a few long ones."""
    turn()
    return STEPS_A_TURN * max(1, round(SECONDS_A_TURN / seconds(turn)))
