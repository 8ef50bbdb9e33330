"""Figures are standalone SVG that describes itself and leaves Matplotlib as it was."""

import re
import xml.etree.ElementTree as ET
from typing import Literal

import matplotlib as mpl
import numpy as np
import pytest

from diag.reporting.figures import Caption, Line, Mark, Panel, heat_map, line_chart
from diag.reporting.reduction import blocks

SVG = "{http://www.w3.org/2000/svg}"
CAPTION = Caption("loss", "Loss", "Falls from 2.3 to 0.1.")
STEPS = np.arange(50) * 10


def a_line(values: np.ndarray, label: str = "loss") -> Line:
    return Line(label, STEPS[: len(values)], values)


def a_chart(values: np.ndarray, label: str = "loss", **kwargs: object) -> str:
    return line_chart(CAPTION, [Panel((a_line(values, label),))], **kwargs)  # type: ignore[arg-type]


def a_map(
    values: np.ndarray,
    scale: Literal["log", "share"] = "log",
    names: list[str] | None = None,
    marks: list[Mark] | None = None,
) -> str:
    rows, columns = values.shape
    names = names or [f"layer.{row}" for row in range(rows)]
    return heat_map(
        CAPTION, blocks(values, 120, 400, "maximum"), names, np.arange(columns) * 10, scale, marks or []
    )


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  # ours


class TestEveryFigure:
    def test_it_is_one_element_with_a_title_and_a_description(self):
        root = ET.fromstring(a_chart(np.linspace(2.3, 0.1, 50)))  # noqa: S314  # ours
        assert root.tag == f"{SVG}svg"
        assert root.attrib["role"] == "img"
        named = {
            element.attrib["id"]: element.text
            for element in root
            if element.tag != f"{SVG}g" and "id" in element.attrib
        }
        assert [named[key] for key in root.attrib["aria-labelledby"].split()] == [
            "Loss",
            "Falls from 2.3 to 0.1.",
        ]

    def test_two_figures_share_no_id(self):
        values = np.linspace(2.3, 0.1, 50)
        found = []
        for key in ("first", "second"):
            svg = line_chart(Caption(key, "", ""), [Panel((a_line(values),))])
            found.append({e.attrib["id"] for e in ET.fromstring(svg).iter() if "id" in e.attrib})  # noqa: S314
        assert found[0]
        assert not found[0] & found[1]

    def test_the_same_numbers_give_the_same_bytes(self):
        values = np.abs(np.sin(np.arange(150.0))).reshape(3, 50)
        assert a_map(values) == a_map(values)
        assert a_chart(values[0]) == a_chart(values[0])

    def test_the_settings_of_matplotlib_are_left_alone_and_do_not_show(self):
        values = np.linspace(2.3, 0.1, 50)
        plain = a_chart(values)
        with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.fonttype": "path"}):
            before = dict(mpl.rcParams)
            assert a_chart(values) == plain
            assert dict(mpl.rcParams) == before

    @pytest.mark.parametrize(
        "name", ["<script>alert(1)</script>", "$x^2", "a --> b", "]]>", '" onload="x'], ids=repr
    )
    def test_a_name_is_text_and_nothing_else(self, name):
        assert name in texts(a_chart(np.ones(50), label=name))
        svg = a_map(np.ones((1, 5)), names=[name[:22]])
        assert any(text and text in name for text in texts(svg))
        assert "<script" not in svg


class TestLineChart:
    def test_values_over_decades_get_a_logarithmic_axis(self):
        assert "10⁻⁵" in texts(a_chart(np.logspace(0, -5, 50)))

    def test_values_below_zero_get_a_linear_axis(self):
        assert "−1" in texts(a_chart(np.linspace(-1, 1000, 50) / 1000 - np.linspace(1, 0, 50)))

    @pytest.mark.parametrize(
        "values",
        [
            np.array([1.0]),
            np.zeros(5),
            np.array([1.0, np.nan, np.inf, 3.0]),
            np.array([1e-300, 1.0, 1e300]),
            np.array([-1e300, 1e300]),
        ],
        ids=["one reading", "zeros", "not finite", "three hundred decades", "huge of both signs"],
    )
    def test_no_numbers_are_too_strange_to_draw(self, values):
        assert "<path" in a_chart(values)

    def test_a_long_line_is_drawn_by_its_envelope(self):
        values = np.random.default_rng(0).standard_normal(100_000)
        svg = line_chart(CAPTION, [Panel((Line("loss", np.arange(100_000), values),))])
        assert len(svg) < 60_000

    def test_onsets_are_numbered_and_close_ones_share_a_plate(self):
        marks = [Mark(100, "1"), Mark(101, "2"), Mark(400, "3")]
        assert {"1, 2", "3"} <= set(texts(a_chart(np.linspace(10, 20, 50), marks=marks)))


class TestHeatMap:
    @pytest.mark.parametrize(
        ("special", "words"),
        [(np.nan, {"no number"}), (0.0, {"zero"}), (np.inf, {"infinite"}), (1.0, set())],
        ids=["nan", "zero", "infinity", "a number"],
    )
    def test_what_has_no_place_on_the_colour_bar_is_in_the_legend(self, special, words):
        values = np.full((3, 5), 0.5)
        values[1, 2] = special
        assert set(texts(a_map(values))) & {"no number", "zero", "infinite"} == words

    def test_rows_are_named_from_the_top(self):
        found = [text for text in texts(a_map(np.ones((3, 5)))) if text.startswith("layer")]
        assert found == ["layer.0", "layer.1", "layer.2"]

    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (300, 1)], ids=str)
    @pytest.mark.parametrize("scale", ["log", "share"])
    def test_any_shape_can_be_drawn(self, shape, scale):
        assert "<image" in a_map(np.full(shape, 0.5), scale)

    def test_more_than_twelve_decades_are_clipped_to_most_of_the_values(self):
        values = np.full((10, 100), 1e-3)
        values[0, 0], values[1, 1] = 1e-40, 1e40
        assert not any("10⁻⁴⁰" in text or "10⁴⁰" in text for text in texts(a_map(values)))

    def test_a_mark_of_a_layer_stands_at_its_onset(self):
        assert "7" in texts(a_map(np.ones((3, 5)), marks=[Mark(20, "7", row=1)]))


def test_a_band_is_drawn_and_does_not_stretch_its_panel():
    steps, values = np.arange(10), np.linspace(1.0, 2.0, 10)
    caption = Caption("band", "Band", "A line in its interval.")
    plain = line_chart(caption, [Panel((Line("mean", steps, values),))])
    wide = Line("mean", steps, values, (values - 1e6, values + 1e6))
    banded = line_chart(caption, [Panel((wide,))])
    assert banded.count("opacity: 0.2") == 1
    assert re.findall(r">([\d.,−]+)</text>", banded) == re.findall(r">([\d.,−]+)</text>", plain)


def test_a_line_keeps_its_look_where_others_are_missing():
    line = Line("second", np.arange(3), np.ones(3), look=1)
    svg = line_chart(Caption("look", "Look", "One line."), [Panel((line,))])
    assert "#d9731a" in svg
    assert "#2f80c8" not in svg


@pytest.mark.parametrize("least", [np.finfo(float).max, 1e300], ids=["alike", "far apart"])
def test_a_map_shows_the_largest_numbers_that_there_are(least):
    written = texts(a_map(np.array([[least, np.finfo(float).max, least]])))
    assert "∞" not in written
    assert "10³⁰⁸" in written
