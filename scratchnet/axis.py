"""Which axis is meant, or why there is none."""

from numpy.exceptions import AxisError


def axis_of(caller: str, shape: tuple[int, ...], dim: int, name: str = "dim") -> int:
    """The axis, counted from the front.

    Raises:
        AxisError: If there is none; it is an IndexError, as in PyTorch, and a ValueError.
    """
    # As in PyTorch, a number too has something to work along.
    count = max(len(shape), 1)
    if not -count <= dim < count:
        raise AxisError(
            f"{caller} needs {name} in {-count}..{count - 1}, an axis of its input of shape {shape}, "
            f"got {dim}; -1 is the last axis"
        )
    return dim % count
