"""Memory that a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
import scratchnet as sn
weight = sn.Tensor(np.ones((256, 1024), np.float32), requires_grad=True)
def step():
    ((weight * 2.0).relu() * weight).sum().backward()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have rules of their own")
def test_training_asks_the_system_for_no_memory_again_and_again() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 256  # a single megabyte that came and went would be as many pages, ten times
