"""The IDX files of MNIST and its kin, from the user's own folder."""

import gzip
import math
import struct
import sys
import zlib
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from scratchnet.data.split import Split
from scratchnet.tape import Array

# The third byte of a file says how its elements are stored; all are big-endian.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
GZIP_MAGIC = b"\x1f\x8b"
# Deflate's best case: two bits stand for a repeated run of 258 bytes.
GZIP_RATIO = 1032


def read_idx(path: str | PathLike[str]) -> Array:
    """The array in an IDX file, plain or compressed with gzip.

    The format is two zero bytes, a byte for the type, a byte for the number of axes, the sizes as
    big-endian 32-bit numbers, and the elements in C order, big-endian [1]. The type is 0x08 (uint8), 0x09
    (int8), 0x0B (int16), 0x0C (int32), 0x0D (float32) or 0x0E (float64). Whether the file is compressed is
    read off its first bytes and not off its name.

    Args:
        path: The file.

    Returns:
        A fresh array in the machine's byte order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an IDX file, or does not hold exactly what its header says. No more memory
            is asked for than the file can fill.

    References:
        [1] LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
    """
    file = Path(path)
    size = file.stat().st_size
    with file.open("rb") as stream:
        is_compressed = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        if not is_compressed:
            return _read(stream, file, size)
        try:
            with gzip.open(stream) as content:
                return _read(cast(BinaryIO, content), file, size * GZIP_RATIO)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"read_idx needs a whole gzip file, got a damaged {file}: {error}") from error


def _read(stream: BinaryIO, file: Path, limit: int) -> Array:
    dtype, shape = _header(stream, file)
    # NumPy refuses a shape whose other sizes are beyond the machine, even where one of them is zero.
    if math.prod(size for size in shape if size) * dtype.itemsize > sys.maxsize and 0 in shape:
        raise ValueError(f"read_idx needs a shape that a machine can hold, {file} says {shape}")
    needed = math.prod(shape) * dtype.itemsize
    if needed > limit:
        raise ValueError(f"read_idx needs {needed} bytes of elements for shape {shape}, {file} is too short")
    content = stream.read(needed + 1)
    if len(content) != needed:
        what = "more" if len(content) > needed else f"only {len(content)}"
        raise ValueError(f"read_idx needs {needed} bytes of elements for shape {shape}, {file} holds {what}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(stream: BinaryIO, file: Path) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) != 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise ValueError(
            f"read_idx needs a file that begins with 00 00, a type among "
            f"{', '.join(f'{code:02x}' for code in DTYPES)} and a number of axes, "
            f"{file} begins with {magic.hex(' ') or 'nothing'}"
        )
    rank = magic[3]
    if rank > 64:
        raise ValueError(f"read_idx needs at most 64 axes, {file} has {rank}")
    sizes = stream.read(4 * rank)
    if len(sizes) != 4 * rank:
        raise ValueError(
            f"read_idx needs {rank} sizes of 4 bytes, {file} ends after {len(sizes)} bytes of them"
        )
    return np.dtype(DTYPES[magic[2]]), struct.unpack(f">{rank}I", sizes)


def load_mnist(folder: str | PathLike[str]) -> Split:
    """MNIST, Fashion-MNIST, or another set in the same four files, from a folder of yours.

    Nothing is downloaded. The files are named as their authors name them, ``train-images-idx3-ubyte`` and
    so on, also with a dot before ``idx`` and also compressed, with ``.gz`` behind the name.

    Args:
        folder: Where the four files lie.

    Returns:
        float32 images in [0, 1] of shape ``(n, 28, 28)`` and int64 labels of shape ``(n,)``.

    Raises:
        FileNotFoundError: If files are missing; it says which.
        ValueError: If a file is damaged, or images and labels do not belong together.

    References:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
        Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017, arXiv:1708.07747.
    """
    found = {name: _find(Path(folder), name) for name in FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"load_mnist needs the four IDX files of MNIST or Fashion-MNIST in {folder}, plain or .gz; "
            f"missing: {', '.join(missing)}; get the data set from its authors (nothing is downloaded here)"
        )
    train_images, train_labels, test_images, test_labels = (cast(Path, found[name]) for name in FILES)
    return Split(*_labelled(train_images, train_labels), *_labelled(test_images, test_labels))


def _find(folder: Path, name: str) -> Path | None:
    forms = [form + suffix for form in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    return next((folder / form for form in forms if (folder / form).is_file()), None)


def _labelled(images: Path, labels: Path) -> tuple[Array, Array]:
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(
            f"load_mnist needs images of bytes, shape (n, height, width), "
            f"got {pixels.dtype} of shape {pixels.shape} from {images}"
        )
    if classes.shape != pixels.shape[:1] or classes.dtype != np.uint8:
        raise ValueError(
            f"load_mnist needs one label of a byte for each of {len(pixels)} images, "
            f"got {classes.dtype} of shape {classes.shape} from {labels}"
        )
    scaled = pixels.astype(np.float32)
    scaled /= 255
    return scaled, classes.astype(np.int64)
