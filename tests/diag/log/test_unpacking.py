"""Unpacking by threads gives what HDF5 gives, whatever the data set."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.log import unpacking
from diag.log.unpacking import first_rows

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(30, 40))
GAPS = np.where(RNG.random(NUMBERS.shape) < 0.5, np.nan, NUMBERS)
COUNTS = np.zeros((30, 40), np.uint32)
TEXTS = np.array([b"a", b"layer"], "S256")[RNG.integers(0, 2, 30)]
PACKED = {"compression": "gzip", "shuffle": True}


@pytest.fixture(scope="module", autouse=True)
def _short_is_long():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "_LEAST_BYTES", 0)
        yield


@pytest.fixture
def stored(tmp_path):
    """Writes an array into a file, and gives back the data set."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        yield lambda values, **storage: file.create_dataset("layers/x", data=values, **storage)


@pytest.mark.parametrize(
    ("values", "storage"),
    [
        pytest.param(NUMBERS, PACKED | {"chunks": (7, 40)}, id="compacted"),
        pytest.param(GAPS, PACKED | {"chunks": (10, 40)}, id="compacted, whole chunks"),
        pytest.param(COUNTS, PACKED | {"chunks": (1, 40)}, id="compacted, counts"),
        pytest.param(NUMBERS[:, 0], PACKED | {"chunks": (7,)}, id="compacted, one number a step"),
        pytest.param(TEXTS, PACKED | {"chunks": (7,)}, id="compacted, texts"),
        pytest.param(NUMBERS, PACKED | {"chunks": (7, 10)}, id="packed by columns"),
        pytest.param(NUMBERS, {"compression": "gzip", "chunks": (7, 40)}, id="not shuffled"),
        pytest.param(NUMBERS, PACKED | {"fletcher32": True, "chunks": (7, 40)}, id="another filter"),
        pytest.param(NUMBERS, {"chunks": (7, 40)}, id="live"),
        pytest.param(NUMBERS, {}, id="in one piece"),
        pytest.param(NUMBERS[:0], {"chunks": (7, 40), "maxshape": (None, 40)}, id="empty"),
    ],
)
def test_the_rows_are_those_that_hdf5_reads(stored, values, storage):
    rows = first_rows(stored(values, **storage), len(values))
    assert rows.dtype == values.dtype
    np.testing.assert_array_equal(rows, values)


@given(rows=st.integers(1, 30), chunk=st.integers(1, 30), count=st.integers(0, 40))
def test_any_number_of_rows_is_cut_off_as_hdf5_cuts_it_off(rows, chunk, count):
    with h5py.File("x.h5", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", data=NUMBERS[:rows], chunks=(min(chunk, rows), 40), **PACKED)
        np.testing.assert_array_equal(first_rows(dataset, count), NUMBERS[:rows][:count])


def test_a_chunk_that_hdf5_did_not_pack_is_read_as_it_lies_there(stored):
    dataset = stored(NUMBERS, chunks=(10, 40), **PACKED)
    dataset.id.write_direct_chunk((10, 0), NUMBERS[10:20].tobytes(), filter_mask=0b11)
    np.testing.assert_array_equal(first_rows(dataset, 30), NUMBERS)


def test_a_damaged_chunk_is_an_error_that_says_which(stored):
    dataset = stored(NUMBERS, chunks=(10, 40), **PACKED)
    mask, packed = dataset.id.read_direct_chunk((10, 0))
    dataset.id.write_direct_chunk((10, 0), packed[:1000] + bytes(100) + packed[1100:], mask)
    with pytest.raises(OSError, match=r"/layers/x: the chunk of row 10 is damaged \(Error -3"):
        first_rows(dataset, 30)
