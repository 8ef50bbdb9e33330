"""Opens the files of a log for reading, and says in words what stands in the way."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import h5py

from diag.log.environment import RUN_FILE, process_of
from diag.log.schema import FORMAT, VERSION, file_name, log_files
from diag.log.superblock import AsIfClosed, is_flagged, is_flagged_for_swmr, is_hdf5, is_truncated

# A writer holds a lock for a moment when it creates a file and when it closes one.
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.02

_DAMAGED: Final = (
    "Log needs a whole file; {path} is damaged: {error}; copy it again from where it was written"
)


class LogError(ValueError):
    """A log cannot be read, or does not hold what was asked for."""


def files_at(path: Path, rank: int = 0) -> tuple[Path, ...]:
    """The files to read: the segments of a rank in a run folder, or the one file that was named.

    Raises:
        LogError: If there is nothing, or a folder without a log.
    """
    if not path.exists():
        raise LogError(f"Log needs a run folder or an HDF5 file; {path} does not exist; check the path")
    if not path.is_dir():
        return (path,)
    if files := log_files(path, rank):
        return files
    others = ", ".join(other.name for other in log_files(path))
    way_out = (
        f" but {others}; name one of these files" if others else "; a run killed in its warm-up leaves none"
    )
    raise LogError(f"Log needs a folder with a log; {path} holds no {file_name(rank)}{way_out}")


def read_run(path: Path) -> Mapping[str, Any]:
    """What run.json says, in a run folder or beside one of its files; empty without one.

    Raises:
        LogError: If it is no JSON object.
    """
    path = (path if path.is_dir() else path.parent) / RUN_FILE
    if not path.exists():
        return {}
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LogError(
            f"Log needs JSON in run.json; {path} has none: {error}; mend it or move it away"
        ) from error
    if not isinstance(run, dict):
        raise LogError(
            f"Log needs a JSON object in run.json; {path} has another value; mend it or move it away"
        )
    return run


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The HDF5 file of a log, open for the length of the block only, whether somebody writes it or not.

    Args:
        path: One file.

    Yields:
        The h5py file.

    Raises:
        LogError: If it is no log, or a newer one than this reader knows, or damaged.
    """
    _check_head(path)
    with ExitStack() as stack:
        file = _open(path, stack)
        try:
            _check_format(path, file)
            yield file
        except (OSError, RuntimeError, KeyError) as error:
            raise LogError(_DAMAGED.format(path=path, error=error)) from error


def _check_head(path: Path) -> None:
    if not is_hdf5(path):
        size = path.stat().st_size
        raise LogError(f"Log needs an HDF5 file; {path} is none ({size} bytes); name the log.h5 of a run")
    if is_truncated(path):
        raise LogError(
            f"Log needs a whole file; {path} is truncated, it lacks its end; copy it again from where it was written"
        )


def _open(path: Path, stack: ExitStack) -> Any:
    for _ in range(_ATTEMPTS - 1):
        with suppress(OSError):
            return _open_once(path, stack)
        time.sleep(_PAUSE_SECONDS)
    try:
        return _open_once(path, stack)
    except OSError as error:
        raise LogError(_what_stands_in_the_way(path, error)) from error


def _open_once(path: Path, stack: ExitStack) -> Any:
    if not is_flagged(path):
        return stack.enter_context(h5py.File(path, "r"))
    if is_flagged_for_swmr(path) and process_of(read_run(path)) == "gone":
        # Not under SWMR: there HDF5 waits without end for metadata to get well that a power failure damaged.
        return stack.enter_context(h5py.File(stack.enter_context(AsIfClosed(path)), "r"))
    return stack.enter_context(h5py.File(path, "r", swmr=True))


def _what_stands_in_the_way(path: Path, error: OSError) -> str:
    if "lock" in str(error):
        return (
            f"Log needs a shared lock on {path}; the file system or another process refuses it; try again, "
            f"or set HDF5_USE_FILE_LOCKING=FALSE where the file system knows no locks ({error})"
        )
    if is_flagged(path):
        return f"Log needs a file that its writer closed; {path} is not; run `diag repair {path}` ({error})"
    return _DAMAGED.format(path=path, error=error)


def _check_format(path: Path, file: Any) -> None:
    stored = file.attrs.get("format", b"")
    found = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    if found != FORMAT:
        raise LogError(
            f'Log needs an HDF5 file whose "format" is "{FORMAT}"; {path} '
            + (f'says "{found}"' if found else "does not say what it is")
            + "; it was written by another program"
        )
    version = int(file.attrs["version"])
    if version > VERSION:
        raise LogError(
            f"Log reads versions up to {VERSION}; {path} has version {version}; upgrade scratchdiag"
        )
