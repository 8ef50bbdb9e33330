"""What recording costs: a training step with diag over the same step without, beside what people use today.

The limits are what every user should be able to count on: 1.25 × at every step (1.4 × for twenty layers
of 256, whose steps are short), 1.05 × at every tenth, 1.01 × at every hundredth. Cockpit and wandb run where
they are installed, an environment of their own: ``.venv-peers``, or the interpreter that
``SCRATCHDIAG_PEERS`` names. Memory is that of whole processes, with and without diag.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from benchmarks import overhead_memory
from benchmarks.networks import NETWORKS, Network
from benchmarks.overhead_peers import peers
from benchmarks.rivals import RIVALS
from benchmarks.timing import Row, ratios, row
from benchmarks.training import recording, training
from diag.capture import FRAMEWORKS

LIMITS = {1: 1.25, 10: 1.05, 100: 1.01}
DEEP_LIMITS = {**LIMITS, 1: 1.40}
CASES = {
    "MLP 784-512-512-10, batch 128": LIMITS,
    "MLP of 20 layers of 256, batch 64": DEEP_LIMITS,
    "CNN 16-32 on 8×8, batch 64": LIMITS,
    "transformer encoder layer 128-512, 4 heads, 64 positions, batch 16": LIMITS,
}
# A whole number of the longest interval between recorded steps.
STEPS_A_TURN = 100
TURNS = 9
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


def _case(framework: str, network: Network, limits: dict[int, float]) -> Iterator[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listeners = {f"every {every}": recording(folder / f"every {every}", every, stack) for every in limits}
        if framework == "torch":
            listeners |= {name: start(folder / name, stack) for name, start in RIVALS.items()}
        sides = {
            name: training(framework, network, listen, steps=STEPS_A_TURN)
            for name, listen in listeners.items()
        }
        others = stack.enter_context(peers(network, folder / "peers")) if framework == "torch" else None
        if others is not None:
            sides["peers"] = others
        found = ratios(training(framework, network, steps=STEPS_A_TURN), sides, turns=TURNS, warm_up=WARM_UP)
        found.pop("peers", None)
    if others is not None:
        found |= {name: values[WARM_UP:] for name, values in others.found.items()}
    for name, values in found.items():
        limit = {f"every {every}": limit for every, limit in limits.items()}.get(name)
        yield row(f"{framework}, {network.name}, {name}", values, limit, unit="× the step without")
