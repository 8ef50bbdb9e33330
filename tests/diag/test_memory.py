"""What recording takes of memory, as the benchmark measures it, in a process of its own."""

from pathlib import Path

import pytest

from benchmarks.networks import NETWORKS, WARM_UP
from benchmarks.overhead_memory import KB, LARGE, MOST_BESIDES, MOST_GROWTH, copy_of, measured

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's counters"),
]


@pytest.fixture(params=["scratchnet", "torch"])
def framework(request):
    pytest.importorskip(request.param)
    return request.param


def test_besides_training_there_is_at_most_one_copy_of_the_parameters_and_a_bit(framework):
    network = next(network for network in NETWORKS if network.name == LARGE)
    alone, recorded = (measured(framework, network, every, 10).peak for every in (0, 1))
    assert (recorded - alone) / KB <= copy_of(network) / KB + MOST_BESIDES


def test_a_long_training_gathers_nothing(framework):
    assert measured(framework, WARM_UP, 1, 10_000).growth / KB <= MOST_GROWTH
