"""What is measured at every step allocates nothing of its arrays' size more than once."""

import tracemalloc

import numpy as np
import pytest

import probes

SIZE = 1_000_000
BYTES = 4 * SIZE

MEASURES = {
    "norms": lambda a, b: probes.norms([a, b]),
    "gradient_norm": lambda a, _: probes.gradient_norm(a),
    "gradient_cosine": lambda a, b: probes.gradient_cosine([a], [b]),
    "gradient_zero_fraction": lambda a, _: probes.gradient_zero_fraction(a),
    "gradient_non_finite_fraction": lambda a, _: probes.gradient_non_finite_fraction(a),
    "magnitude_histogram": lambda a, _: probes.magnitude_histogram(a),
    "update_ratio": lambda a, b: probes.update_ratio(a, b),
    "distance_from_start": lambda a, b: probes.distance_from_start(a, b),
    "effective_learning_rate": lambda a, _: probes.effective_learning_rate(a, 0.1),
}
# In parts of the size of a float32 array; what is left out needs next to nothing.
LARGEST = {"distance_from_start": 1.0, "gradient_zero_fraction": 0.25}


@pytest.mark.parametrize("layout", ["as it lies", "transposed"])
@pytest.mark.parametrize("name", MEASURES)
def test_memory_beside_the_arrays(name, layout):
    arrays = np.random.default_rng(0).standard_normal((2, SIZE // 100, 100)).astype(np.float32)
    pair = arrays if layout == "as it lies" else arrays.swapaxes(1, 2)
    MEASURES[name](*pair)
    tracemalloc.start()
    MEASURES[name](*pair)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Stretches of 2^15 entries, widened to eight bytes, are what may come on top.
    assert peak <= LARGEST.get(name, 0.0) * BYTES + 1_000_000


def test_a_non_finite_entry_costs_no_more_than_its_masks():
    array = np.full(SIZE, np.nan, dtype=np.float32)
    tracemalloc.start()
    assert int(probes.non_finite_count(array)) == SIZE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= BYTES
