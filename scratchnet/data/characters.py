"""A corpus of characters that every Python carries: the source of its own standard library."""

import hashlib
import platform
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scratchnet.tape import Array

# Plain ASCII source that every supported Python has, in an order of their own; about 1.2 million characters.
MODULES = (
    "argparse",
    "bisect",
    "calendar",
    "cmd",
    "configparser",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "difflib",
    "enum",
    "graphlib",
    "inspect",
    "ipaddress",
    "numbers",
    "optparse",
    "pickle",
    "plistlib",
    "pprint",
    "queue",
    "sched",
    "selectors",
    "shelve",
    "socketserver",
    "subprocess",
    "tempfile",
    "textwrap",
    "threading",
    "uuid",
    "weakref",
)


@dataclass(frozen=True, eq=False, repr=False)
class Characters:
    """A text as numbers, one for each character, in a part to learn from and a part to be judged by.

    Attributes:
        train: The first part, int64.
        test: The rest, int64.
        vocabulary: Every character of the whole text once, in the order of its number.
        modules: The modules whose source it is, in the order of the text.
        python: Version of the Python that it comes from; another version has another text.
        sha256: Hash of the whole text in UTF-8: two corpora with the same one are the same.
    """

    train: Array
    test: Array
    vocabulary: str
    modules: tuple[str, ...]
    python: str
    sha256: str

    def encode(self, text: str) -> Array:
        """The numbers of a text's characters, int64; ValueError if one is not in the vocabulary."""
        return _encode(text, self.vocabulary)

    def decode(self, numbers: Sequence[int] | Array) -> str:
        """The text of which these are the numbers; ValueError if one is out of range."""
        positions = np.asarray(numbers, np.int64).reshape(-1)
        outside = positions[(positions < 0) | (positions >= len(self.vocabulary))]
        if outside.size:
            raise ValueError(f"decode needs numbers in 0..{len(self.vocabulary) - 1}, got {outside[0]}")
        return "".join([self.vocabulary[position] for position in positions.tolist()])

    def __repr__(self) -> str:
        return (
            f"Characters({len(self.train):,} to learn from and {len(self.test):,} for the test, "
            f"{len(self.vocabulary)} different, from {len(self.modules)} modules of Python {self.python}, "
            f"sha256 {self.sha256[:12]}…)"
        )


def load_characters(*, modules: Sequence[str] = MODULES, test_size: float = 0.1) -> Characters:
    """The source of modules of Python's standard library, one after another, as numbers.

    Real text of about a million characters without a download, for a model that predicts the next
    character. It is read from the running Python's own files, so it changes from one version of Python to
    the next: quote `Characters.python` and `Characters.sha256` beside a result.

    Args:
        modules: Dotted names of modules written in Python; the text has them in sorted order.
        test_size: Share of the text, at its end, that is kept for the test, in (0, 1).

    Raises:
        FileNotFoundError: If this Python carries no source of a module.
        ValueError: If ``test_size`` leaves either part empty.

    Example:
        >>> corpus = load_characters(modules=["bisect", "queue"])
        >>> corpus.decode(corpus.encode("def push(x):"))
        'def push(x):'
    """
    names = tuple(sorted(set(modules)))
    text = "".join([_source(name).read_text(encoding="utf-8") for name in names])
    first = round(len(text) * (1 - test_size))
    if not 0 < test_size < 1 or not 0 < first < len(text):
        raise ValueError(
            f"load_characters needs a test_size in (0, 1) that leaves characters in both parts "
            f"of {len(text)}, got {test_size}"
        )
    vocabulary = "".join(sorted(set(text)))
    numbers = _encode(text, vocabulary)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Characters(numbers[:first], numbers[first:], vocabulary, names, platform.python_version(), digest)


def _source(name: str) -> Path:
    # Not through the import system, which would find a `queue.py` that lies in the working folder.
    place = Path(sysconfig.get_path("stdlib")).joinpath(*name.split("."))
    for file in (place.with_name(place.name + ".py"), place / "__init__.py"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"load_characters needs the source of the standard module {name!r}, "
        f"Python {platform.python_version()} has none at {place}.py; name others with modules="
    )


def _encode(text: str, vocabulary: str) -> Array:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known = np.array([ord(character) for character in vocabulary], np.uint32)
    numbers = np.searchsorted(known, points)
    wrong = points[known[np.minimum(numbers, len(known) - 1)] != points]
    if wrong.size:
        raise ValueError(f"encode needs characters of the vocabulary, got {chr(wrong[0])!r}")
    return numbers.astype(np.int64)


def sequences(numbers: Array, length: int, *, stride: int | None = None) -> tuple[Array, Array]:
    """Windows of a sequence, and beside each what comes one place later: what a language model is to predict.

    Args:
        numbers: The sequence, 1-D.
        length: Places in a window.
        stride: Places from the start of a window to that of the next; ``length`` without it, so that every
            place is predicted at most once.

    Returns:
        ``x`` and ``y``, each of shape ``(windows, length)``, with ``y[i, j]`` the successor of ``x[i, j]``.
        They are read-only views that take no memory of their own. An end that fills no window is left out.

    Raises:
        ValueError: If the sequence does not fill one window and its successor, or an argument is out of range.

    Example:
        >>> x, y = sequences(np.arange(7), 3)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    step = length if stride is None else stride
    if length < 1 or step < 1:
        raise ValueError(f"sequences needs length >= 1 and stride >= 1, got {length} and {step}")
    if np.ndim(numbers) != 1 or len(numbers) <= length:
        raise ValueError(
            f"sequences needs more than {length} numbers in one row for windows of {length}, "
            f"got shape {np.shape(numbers)}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(numbers, length + 1)[::step]
    return windows[:, :-1], windows[:, 1:]
