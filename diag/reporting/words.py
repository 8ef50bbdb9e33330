"""Numbers, durations and counts as a person reads them."""

import math
from collections.abc import Sequence
from datetime import datetime

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits; a dash where there is none.

    Args:
        value: Any float.
        digits: Significant digits.

    Returns:
        Text without padding; powers of ten beyond 10⁻³ and 10⁶ are written out.

    Example:
        >>> number(0.25), number(1.2e-5), number(1e-7), number(1500.0), number(float("nan"))
        ('0.25', '1.2×10⁻⁵', '10⁻⁷', '1,500', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if not value:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if not -4 < int(exponent) < 6:
        return _scientific(mantissa, int(exponent))
    decimals = max(digits - 1 - int(exponent), 0)
    text = f"{value:,.{decimals}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text else text)


def _scientific(mantissa: str, exponent: int) -> str:
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return _minus({"1": power, "-1": f"-{power}"}.get(mantissa, f"{mantissa}×{power}"))


def _minus(text: str) -> str:
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Args:
        seconds: At least 0; NaN where it is unknown.

    Returns:
        Text such as ``"3 min 20 s"``, or ``"unknown"``.

    Example:
        >>> duration(0.25), duration(200), duration(90_000), duration(float("nan"))
        ('0.25 s', '3 min 20 s', '1 d 1 h', 'unknown')
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{number(seconds)} s"
    left, parts = round(seconds), []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def moment(timestamp: str) -> str:
    """A point in time as a person writes it; text that is none comes back as it is.

    Args:
        timestamp: ISO 8601.

    Returns:
        Text such as ``"22 November 2026, 21:34 UTC"``.

    Example:
        >>> moment("2026-11-22T21:34:05+00:00"), moment("yesterday")
        ('22 November 2026, 21:34 UTC', 'yesterday')
    """
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    # Month names by hand: strftime would take them from the locale.
    return f"{time.day} {_MONTHS[time.month - 1]} {time:%Y, %H:%M} {time.tzname() or ''}".rstrip()


def count(amount: int, noun: str) -> str:
    """An amount with its noun, in the plural where it is not one.

    Args:
        amount: How many.
        noun: In the singular; its plural takes an *s*.

    Returns:
        Text such as ``"1 fault"`` or ``"12,000 steps"``.

    Example:
        >>> count(1, "fault"), count(12_000, "step")
        ('1 fault', '12,000 steps')
    """
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def enumeration(items: Sequence[str]) -> str:
    """Items as a person lists them.

    Args:
        items: At least one.

    Returns:
        ``"a"``, ``"a and b"`` or ``"a, b and c"``.

    Example:
        >>> enumeration(["a", "b", "c"])
        'a, b and c'
    """
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def shortened(name: str, length: int = 22) -> str:
    """A dotted name that fits beside a figure.

    Words give way to their initials from the left, numbers and the last word stay: they tell layers apart.

    Args:
        name: Any text.
        length: The most characters to return, at least 2.

    Returns:
        The name, or as much of it as there is room for.

    Example:
        >>> shortened("encoder.layers.11.attention.output.dense"), shortened("a" * 30, 8)
        ('e.l.11.a.output.dense', '…aaaaaaa')
    """
    parts = name.split(".")
    for index, part in enumerate(parts[:-1]):
        if len(".".join(parts)) > length and not part.isdecimal():
            parts[index] = part[:1]
    short = ".".join(parts)
    return short if len(short) <= length else f"…{short[1 - length :]}"
