"""Figures: numbers in, SVG text out, readable on light paper and on dark."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from diag.reporting.reduction import Array, Blocks, Indices, envelope
from diag.reporting.words import number, shortened

_NO_NUMBER, _ZERO, _INFINITE = "#9aa0a6", "#ffffff", "#d1495b"
# Mid tones: each has a contrast of at least 3:1 on white and on near-black; dashes tell them apart as well.
_COLOURS = ("#2f80c8", "#d9731a", "#2b9a70", "#9a6fd0", "#c2508a", "#8a8d2b")
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1)),
    (0, (9, 2)),
)
_FRAME = "#858b93"
_STYLE: dict[str, Any] = {
    "axes.edgecolor": _FRAME,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "legend.borderaxespad": 0.2,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    # A layer may be called "$x$"; that is a name and no formula.
    "text.parse_math": False,
    # Black is left out of the SVG, so that the page decides the colour of the text.
    "xtick.color": _FRAME,
    "xtick.labelcolor": "black",
    "ytick.color": _FRAME,
    "ytick.labelcolor": "black",
}
_WIDTH_INCHES = 5.5
_FEW_READINGS = 40
_DECADES_OF_A_LOG_AXIS = 1.7
_DECADES_SHOWN = 12


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Its name.
        steps: Shape ``(n,)``.
        values: Shape ``(n,)``.
        band: The lower and the upper end of an interval around it, shape ``(n,)`` each. It may leave the
            panel, whose height is the lines'.
        look: Which colour and dash it has; its place in the panel where that is None.
    """

    label: str
    steps: Indices
    values: Array
    band: tuple[Array, Array] | None = None
    look: int | None = None


@dataclass(frozen=True)
class Panel:
    """Lines on one vertical axis, and the value that a reader compares them with."""

    lines: tuple[Line, ...]
    reference: float | None = None


@dataclass(frozen=True)
class Mark:
    """A step to point at, with the number of the finding; with a row where it is one layer's."""

    step: int
    label: str
    row: int | None = None


@dataclass(frozen=True)
class Caption:
    """What a figure is called: a key unique on the page, a title, and a description for who cannot see it."""

    key: str
    title: str
    description: str


def line_chart(caption: Caption, panels: Sequence[Panel], marks: Sequence[Mark] = ()) -> str:
    """Lines over the steps, panel above panel.

    A panel whose values are positive and span a factor of 50 or more gets a logarithmic axis.

    Args:
        caption: Key, title and description.
        panels: At least one.
        marks: Steps to point at.

    Returns:
        An ``<svg>`` element.
    """
    with _style(caption.key):
        figure = Figure(figsize=(_WIDTH_INCHES, 0.7 + 1.9 * len(panels)), layout="constrained")
        column = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(column, panels, strict=True):
            _draw_lines(axes, panel)
            for mark in marks:
                axes.axvline(mark.step, color=_FRAME, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        _show_all_steps(column[0], [line.steps for panel in panels for line in panel.lines])
        _number_marks(column[0], [(float(mark.step), mark.label) for mark in marks], "inside")
        column[-1].set_xlabel("step")
        return _to_svg(figure, caption)


def _draw_lines(axes: Axes, panel: Panel) -> None:
    looks = [index if line.look is None else line.look for index, line in enumerate(panel.lines)]
    for look, line in zip(looks, panel.lines, strict=True):
        axes.plot(
            *envelope(line.steps, _drawable(line.values)),
            label=line.label,
            color=_COLOURS[look % len(_COLOURS)],
            # The seventh has the first's colour again, but not its dash.
            linestyle=_DASHES[(look + look // len(_COLOURS)) % len(_DASHES)],
            marker="o" if len(line.steps) <= _FEW_READINGS else None,
            markersize=3,
        )
    if panel.reference is not None:
        axes.axhline(panel.reference, color=_FRAME, linewidth=0.9, linestyle="--", zorder=1)
    _set_scale(axes, np.concatenate([_drawable(line.values) for line in panel.lines]))
    height = axes.get_ylim()
    for look, line in zip(looks, panel.lines, strict=True):
        if line.band is not None:
            _draw_band(axes, line.steps, line.band, _COLOURS[look % len(_COLOURS)])
    axes.set_ylim(height)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_step_text))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=_legend_columns(panel.lines))


def _legend_columns(lines: Sequence[Line]) -> int:
    """As many as fit above the panel: a wider legend would make the panel narrower."""
    widest = max(len(line.label) for line in lines)
    fitting = 3 if widest <= 14 else 2 if widest <= 26 else 1
    return 2 if len(lines) == 4 and fitting == 3 else fitting


def _draw_band(axes: Axes, steps: Indices, band: tuple[Array, Array], colour: str) -> None:
    low, high = map(_drawable, band)
    kept = np.union1d(envelope(steps, low)[0], envelope(steps, high)[0])
    rows = np.searchsorted(steps, kept)
    axes.fill_between(kept, low[rows], high[rows], color=colour, alpha=0.2, linewidth=0, zorder=1)


def _show_all_steps(axes: Axes, steps: Sequence[Indices]) -> None:
    """Those without a number too: that a line stops early must be seen."""
    left, right = min(of_line[0] for of_line in steps), max(of_line[-1] for of_line in steps)
    margin = 0.03 * (right - left) or 1
    axes.set_xlim(left - margin, right + margin)


def _drawable(values: Array) -> Array:
    """Magnitudes within what Matplotlib can put on an axis without overflow; infinities leave gaps."""
    size = np.abs(values)
    limited = np.copysign(np.clip(size, 1e-100, 1e100), values)
    return np.where(np.isfinite(values) & (size > 0), limited, values)


def _set_scale(axes: Axes, values: Array) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and np.ptp(np.log10(finite)) >= _DECADES_OF_A_LOG_AXIS:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _step_text(step: float, _: int | None = None) -> str:
    return f"{step:,.0f}"


def _number_marks(axes: Axes, marks: Sequence[tuple[float, str]], place: Literal["inside", "above"]) -> None:
    """A plate for each mark; marks too close for that share one."""
    left, right = axes.get_xlim()
    groups: list[tuple[float, list[str]]] = []
    for x, label in sorted(marks):
        if groups and x - groups[-1][0] < 0.05 * (right - left):
            groups[-1][1].append(label)
        else:
            groups.append((x, [label]))
    for x, labels in groups:
        # At the edges a plate grows inwards, or it would cover the numbers of the axis.
        share = (x - left) / (right - left)
        side = "left" if share < 0.05 else "right" if share > 0.95 else "center"
        _write_plate(axes, ", ".join(labels[:3]) + ("…" if len(labels) > 3 else ""), x, place, side)


def _write_plate(axes: Axes, text: str, x: float, place: str, side: str) -> None:
    plate = {"boxstyle": "round,pad=0.2", "facecolor": "#ffffff", "edgecolor": _FRAME, "linewidth": 0.8}
    axes.annotate(
        text,
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, -3 if place == "inside" else 3),
        textcoords="offset points",
        ha=side,
        va="top" if place == "inside" else "bottom",
        color="#1c2127",
        fontsize=9,
        bbox=plate,
        zorder=5,
    )


def heat_map(
    caption: Caption,
    table: Blocks,
    rows: Sequence[str],
    steps: Indices,
    scale: Literal["log", "share"],
    marks: Sequence[Mark] = (),
) -> str:
    """A table of layer × step as colours, the first layer on top.

    Args:
        caption: Key, title and description.
        table: The values, reduced to what a figure can show.
        rows: Name of each original row; where one is empty, nothing stands beside it.
        steps: Step of each original column.
        scale: ``"log"`` for magnitudes, whose colours span their powers of ten (the middle 96 % of the
            values where those are more than twelve); ``"share"`` for numbers in [0, 1].
        marks: Steps and rows to point at.

    Returns:
        An ``<svg>`` element.
    """
    with _style(caption.key):
        return _to_svg(_draw_map(table, rows, steps, scale, marks), caption)


def heat_map_png(
    table: Blocks,
    rows: Sequence[str],
    steps: Indices,
    scale: Literal["log", "share"],
    marks: Sequence[Mark] = (),
) -> bytes:
    """The same as a PNG on white, for what shows no SVG; arguments as for `heat_map`."""
    stream = io.BytesIO()
    with _style(""):
        figure = _draw_map(table, rows, steps, scale, marks)
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def _draw_map(
    table: Blocks, rows: Sequence[str], steps: Indices, scale: Literal["log", "share"], marks: Sequence[Mark]
) -> Figure:
    height = float(np.clip(0.18 * len(table.values), 0.8, 3.8))
    figure = Figure(figsize=(_WIDTH_INCHES, height + 1.2), layout="constrained")
    bar, axes = figure.subplots(2, height_ratios=(0.08, height))
    image = _draw_table(axes, table.values, scale)
    _draw_colour_bar(figure, bar, image, scale)
    _name_rows(axes, rows, table.row_size)
    _name_columns(axes, steps, table.column_size)
    _draw_marks(axes, marks, table, steps)
    _explain_colours(figure, table.values, scale)
    return figure


def _draw_table(axes: Axes, values: Array, scale: str) -> AxesImage:
    with np.errstate(divide="ignore", invalid="ignore"):
        shades = np.log10(values) if scale == "log" else values
    low, high = _limits(shades[np.isfinite(shades)]) if scale == "log" else (0.0, 1.0)
    clipped = np.where(np.isfinite(shades), np.clip(shades, low, high), shades)
    # Zero and infinity have no place on a logarithmic bar: they get the colours below and above it.
    clipped[shades == -np.inf] = low - 1
    clipped[shades == np.inf] = high + 1
    colours = mpl.colormaps["viridis"].resampled(64)
    axes.spines[:].set_visible(True)
    return axes.imshow(
        clipped,
        aspect="auto",
        interpolation="none",
        cmap=colours.with_extremes(bad=_NO_NUMBER, under=_ZERO, over=_INFINITE),
        vmin=low,
        vmax=high,
    )


def _limits(exponents: Array) -> tuple[float, float]:
    if not exponents.size:
        return 0.0, 1.0
    low, high = float(exponents.min()), float(exponents.max())
    if high - low > _DECADES_SHOWN:
        low, high = (float(limit) for limit in np.percentile(exponents, (2, 98)))
    if high - low > 0.1:
        return low, high
    return low - 0.5, min(high + 0.5, float(np.log10(np.finfo(float).max)))


def _draw_colour_bar(figure: Figure, axes: Axes, image: AxesImage, scale: str) -> None:
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", ticklocation="top")
    bar.outline.set_visible(False)
    low, high = image.get_clim()
    is_narrow = scale == "log" and high - low < _DECADES_OF_A_LOG_AXIS
    axes.xaxis.set_major_locator(
        FixedLocator(_ones_twos_and_fives(low, high)) if is_narrow else MaxNLocator(6, integer=scale == "log")
    )
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda shade, _: number(_power_of_ten(shade) if scale == "log" else shade))
    )


def _power_of_ten(exponent: float) -> float:
    # Matplotlib also asks for marks beyond the bar, where there may be no number any more.
    with np.errstate(over="ignore"):
        return float(np.power(10.0, exponent))


def _ones_twos_and_fives(low: float, high: float) -> list[float]:
    """Exponents of round numbers between two exponents."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    exponents = (decade + math.log10(digit) for decade in decades for digit in (1, 2, 5))
    return [exponent for exponent in exponents if low <= exponent <= high]


def _name_rows(axes: Axes, rows: Sequence[str], size: int) -> None:
    named = [(place, shortened(name)) for place, name in enumerate(rows[::size]) if name]
    every = -(-len(named) // 22)
    axes.set_yticks(*map(list, zip(*named[::every], strict=True)))
    axes.tick_params(axis="y", length=0, labelsize=9)


def _name_columns(axes: Axes, steps: Indices, size: int) -> None:
    ticks = MaxNLocator(6, integer=True).tick_values(steps[0], max(steps[-1], steps[0] + 1))
    inside = [tick for tick in ticks if steps[0] <= tick <= steps[-1]]
    axes.set_xticks([_column(tick, steps, size) for tick in inside], [_step_text(tick) for tick in inside])
    axes.set_xlabel("step")


def _column(step: float, steps: Indices, size: int) -> float:
    return float(np.interp(step, steps, np.arange(len(steps)))) // size


def _draw_marks(axes: Axes, marks: Sequence[Mark], table: Blocks, steps: Indices) -> None:
    columns = [_column(mark.step, steps, table.column_size) for mark in marks]
    # Each twice, dark under light: one of the two is seen on any colour of the map.
    for colour, width in (("#1c2127", 2.2), ("#ffffff", 0.9)):
        for mark, column in zip(marks, columns, strict=True):
            axes.axvline(column, color=colour, linewidth=width)
            if mark.row is not None:
                row = mark.row // table.row_size
                axes.plot(
                    column,
                    row,
                    "o",
                    markerfacecolor="none",
                    markeredgecolor=colour,
                    markeredgewidth=width + 0.5,
                )
    _number_marks(axes, [(column, mark.label) for mark, column in zip(marks, columns, strict=True)], "above")


def _explain_colours(figure: Figure, values: Array, scale: str) -> None:
    present = {
        ("no number", _NO_NUMBER): np.isnan(values).any(),
        ("zero", _ZERO): scale == "log" and (values == 0).any(),
        ("infinite", _INFINITE): np.isinf(values).any(),
    }
    patches = [
        Patch(facecolor=colour, edgecolor=_FRAME, label=text)
        for (text, colour), is_in in present.items()
        if is_in
    ]
    if patches:
        figure.legend(handles=patches, loc="outside lower left", ncols=3, handlelength=1.2)


@contextmanager
def _style(key: str) -> Iterator[None]:
    # A salt for each figure: the ids of one page's figures must not meet.
    style: Any = _STYLE | {"svg.hashsalt": key}
    with mpl.rc_context():
        # From the defaults, so that a reader's own matplotlibrc does not change the report.
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        yield


def _to_svg(figure: Figure, caption: Caption) -> str:
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    head, _, body = stream.getvalue().partition("</defs>")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None  # noqa: S101  # Matplotlib writes one
    # Ids such as `axes_1` recur in every figure and nothing refers to them.
    body = re.sub(r'(<g) id="[^"]*"', r"\1", body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]}'
        f' role="img" aria-labelledby="{caption.key}-title {caption.key}-desc">\n'
        f'<title id="{caption.key}-title">{escape(caption.title)}</title>\n'
        f'<desc id="{caption.key}-desc">{escape(caption.description)}</desc>'
        f"{body}"
    )
