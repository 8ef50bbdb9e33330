"""What `save` and `load` do whatever the format: names and dtypes, whole files, and who is to blame."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from scratchnet.nn.module import Module
from scratchnet.serialization import npz, safetensors
from scratchnet.tape import Array

Content = TypeVar("Content")


class Format(NamedTuple):
    """How a kind of file is written and read."""

    write: Callable[[BufferedWriter, Mapping[str, Array], Mapping[str, str]], None]
    read: Callable[[BufferedReader], dict[str, Array]]
    read_metadata: Callable[[BufferedReader], dict[str, str]]


FORMATS = {
    ".safetensors": Format(safetensors.write, safetensors.read, safetensors.read_metadata),
    ".npz": Format(npz.write, npz.read, npz.read_metadata),
}


def save(
    state: Module | Mapping[str, Any],
    path: str | PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a module's state, or any named arrays, to a ``.safetensors`` or ``.npz`` file.

    The first is what the `safetensors` package of other frameworks reads and writes, the second what
    `numpy.load` reads. The file appears under its name only when it is whole: whoever is interrupted keeps
    the old one. The same state gives the same bytes.

    Args:
        state: A module, of which the ``state_dict`` is saved, or arrays (or tensors) by name.
        path: The file; its suffix says the format. Its folder must be there.
        metadata: Texts by name, kept beside the arrays.

    Raises:
        ValueError: If the suffix is another, or the format cannot hold an array's dtype or name.
        TypeError: If a name or the metadata is no text.
        FileNotFoundError: If the folder is missing.

    Example:
        >>> import scratchnet as sn, tempfile
        >>> model = sn.nn.Linear(3, 2, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sn.save(model, f"{folder}/model.safetensors")
        ...     model.load_state_dict(sn.load(f"{folder}/model.safetensors"))
    """
    # Behind a symbolic link lies the file that is meant to be replaced.
    file = Path(path).resolve()
    kind = _format("save", file)
    arrays = _arrays(state.state_dict() if isinstance(state, Module) else state)
    texts = dict(metadata or {})
    for text in (*texts, *texts.values()):
        if not isinstance(text, str):
            raise TypeError(f"save needs metadata of texts by text, got {type(text).__name__} {text!r}")
    with _replacing(file) as stream:
        kind.write(stream, arrays, texts)


def load(path: str | PathLike[str]) -> dict[str, Array]:
    """The arrays in a ``.safetensors`` or ``.npz`` file by name, for ``model.load_state_dict``.

    The file may come from anybody: what does not hold together is refused, nothing in it is run, and no
    more memory is asked for than its size accounts for. NumPy has no bfloat16, so that such numbers come as
    float32, which holds each of them exactly.

    Args:
        path: The file; its suffix says the format.

    Returns:
        Fresh writable arrays, in the machine's byte order and in the order of the file.

    Raises:
        ValueError: If the file is damaged, is of another format, or holds what NumPy has no dtype for.
        FileNotFoundError: If there is no such file.
    """
    file = Path(path)
    return _reading(file, _format("load", file).read)


def load_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """The texts that `save` has kept beside the arrays; no array is read."""
    file = Path(path)
    return _reading(file, _format("load_metadata", file).read_metadata)


def _format(caller: str, file: Path) -> Format:
    if file.suffix not in FORMATS:
        raise ValueError(f"{caller} needs a path that ends in {' or '.join(FORMATS)}, got {file.name!r}")
    return FORMATS[file.suffix]


def _arrays(state: Mapping[str, Any]) -> dict[str, Array]:
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"save needs names that are text, got {type(name).__name__} {name!r}")
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise ValueError(
                f"save needs numbers or booleans, got {array.dtype} for {name!r}; "
                f"give every array a name of its own, and texts as metadata"
            )
        # C order and little-endian is what both formats hold; `ascontiguousarray` would add an axis to 0-d.
        arrays[name] = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return arrays


@contextmanager
def _replacing(file: Path) -> Iterator[BufferedWriter]:
    """A stream whose content becomes the file when the block ends well, and vanishes when it does not."""
    if not file.parent.is_dir():
        raise FileNotFoundError(f"save needs a folder that is there, got {file.parent}; make it with mkdir")
    # In the same folder, for only within a file system is a replacement atomic.
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _reading(file: Path, read: Callable[[BufferedReader], Content]) -> Content:
    with file.open("rb") as stream:
        try:
            return read(stream)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
