"""Any value as what JSON can carry."""

from argparse import Namespace
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, is_dataclass
from typing import Any


def as_plain(value: object) -> Any:
    """A value made of dicts, lists, texts, numbers, booleans and None only.

    Args:
        value: Mappings, sequences, sets, dataclasses and namespaces are taken apart; scalars of NumPy and
            torch become numbers; whatever else there is, arrays too, becomes its ``str``.

    Returns:
        What `json.dumps` takes; NaN and infinity stay floats.

    Example:
        >>> as_plain({"lr": np.float64(0.1), "betas": (0.9, 0.999), "device": complex(0, 1)})
        {'lr': 0.1, 'betas': [0.9, 0.999], 'device': '1j'}
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray):
        return [as_plain(item) for item in value]
    return str(value)
