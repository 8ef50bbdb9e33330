"""Room on the disk, asked for before HDF5 needs it.

HDF5 cannot let go of a file that it failed to write: it tries again when the process ends, and then the
process crashes. So files are made in memory and written by plain means, and where HDF5 extends a file
itself the room is reserved first: what fails is then an ordinary call that leaves HDF5 in good order.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import h5py

from diag.log.schema import LIBVER

# Of the index over its chunks: what one chunk takes, and by how much it may grow in one go.
_ENTRY_BYTES: Final = 32
_INDEX_BYTES: Final = 2**14


def image_of(build: Callable[[Any], None]) -> bytes:
    """The bytes of an HDF5 file that was made in memory.

    Args:
        build: Gets the open h5py file and fills it.
    """
    memory = BytesIO()
    with h5py.File(memory, "w", libver=LIBVER) as file:
        build(file)
    return memory.getvalue()


def reserve(file: Any, size: int) -> None:
    """Makes sure that a file may grow by some bytes.

    Args:
        file: An open h5py file. It gets longer than HDF5 knows, until `trim`.
        size: Bytes beyond its present end.

    Raises:
        OSError: If there is no room, or the file may not become so long.
    """
    descriptor, end = file.id.get_vfd_handle(), file.id.get_filesize()
    if sys.platform == "linux":
        try:
            os.posix_fallocate(descriptor, end, max(1, size))
            return
        except OSError as error:
            # Some file systems know no reservation; the rest of the refusals are what is asked for here.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    if shutil.disk_usage(Path(file.filename).parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.filename)


def growth(dataset: Any, start: int, total: int) -> int:
    """How many bytes a chunked data set may take on the disk when it grows.

    Args:
        dataset: Of a live log, so not compressed.
        start: Its rows now.
        total: Its rows then.
    """
    rows, *columns = dataset.chunks
    chunks = ceil(total / rows) - ceil(start / rows)
    for width, chunk in zip(dataset.shape[1:], columns, strict=True):
        chunks *= ceil(width / chunk)
    return chunks * (prod(dataset.chunks) * int(dataset.dtype.itemsize) + _ENTRY_BYTES) + _INDEX_BYTES
