"""What every doctest may use without importing it."""

from importlib.util import find_spec

import numpy as np
import pytest

# Without torch what is written for it cannot be imported, not even to look for doctests.
collect_ignore = (
    []
    if find_spec("torch")
    else [
        "diag/capture/torch",
        "tests/diag/capture/torch_module_traps.py",
        "tests/diag/capture/torch_traps.py",
        "tests/diag/ranks/worker.py",
    ]
)
# Their examples are trainings in other people's frameworks, which are not installed here.
collect_ignore.append("diag/integrations")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
