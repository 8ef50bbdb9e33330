"""Colours that can be told apart: by who is colour-blind, on light and dark screens, and on paper."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diag import reporting
from diag.reporting.figures import _COLOURS, Caption, Line, Panel, heat_map, line_chart
from diag.reporting.reduction import blocks

CSS = Path(reporting.__file__).with_name("report.css.jinja").read_text()
TEXT = ("ink", "muted", "link", "healthy", "warning", "fault", "not_assessable", "note")

# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009: how
# linear RGB looks where one kind of cone is missing.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour):
    share = np.asarray(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def luminance(colour, sight=SIGHT["full"]):
    return np.clip(linear(colour) @ sight.T, 0, 1) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    """Of the Web Content Accessibility Guidelines, 1 to 21."""
    low, high = sorted((float(luminance(one)), float(luminance(other))))
    return (high + 0.05) / (low + 0.05)


def rgb(text):
    return [int(text[place : place + 2], 16) for place in (1, 3, 5)]


def schemes():
    """The colours of each scheme by name: what a later one leaves unsaid is as in the first."""
    blocks_of = {
        "light": CSS,
        "dark": CSS.partition("prefers-color-scheme: dark")[2],
        "paper": CSS.partition("@media print")[2],
    }
    found = {}
    for name, css in blocks_of.items():
        root = css[css.index(":root") :].partition("}")[0]
        found[name] = {key: rgb(value) for key, value in re.findall(r"--(\w+): (#\w{6})", root)}
    return {name: found["light"] | own for name, own in found.items()}


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
@pytest.mark.parametrize("ground", ["paper", "soft"])
def test_text_can_be_read(scheme, ground):
    colours = schemes()[scheme]
    assert {name for name in TEXT if contrast(colours[name], colours[ground]) < 4.5} == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_stand_out(scheme):
    paper = schemes()[scheme]["paper"]
    assert {colour for colour in _COLOURS if contrast(rgb(colour), paper) < 3} == set()


def test_lines_differ_by_their_dashes_too():
    steps = np.arange(50)
    lines = tuple(Line(f"line {index}", steps, np.arange(50.0) + index + 1) for index in range(6))
    svg = line_chart(Caption("lines", "Lines", ""), [Panel(lines)])
    dashes = re.findall(r"stroke-dasharray: ([^;\"]+)", svg)
    # The first is drawn through.
    assert len(set(dashes)) >= 5


@pytest.mark.parametrize("sight", SIGHT)
def test_a_larger_value_is_a_lighter_colour_for_every_eye(sight):
    ramp = np.linspace(0, 1, 32)[np.newaxis]
    svg = heat_map(Caption("map", "Map", ""), blocks(ramp, 1, 32, "mean"), ["fc"], np.arange(32), "share")
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r"data:image/png;base64,\s*([^\"]+)", svg)
    ]
    # The map is the picture as wide as the table; the colour bar is another.
    row = max((np.asarray(picture.convert("RGB"))[0] for picture in pictures), key=len)
    lightness = luminance(row, SIGHT[sight])
    assert len(np.unique(lightness)) >= 32
    assert np.all(np.diff(lightness) >= -1e-3)
    assert lightness[-1] - lightness[0] > 0.5


def test_what_a_screen_needs_is_not_printed():
    printed = CSS.partition("@media print")[2]
    assert "nav, details { display: none; }" in printed
    assert re.search(r"\.scroll \{ overflow: visible; \}", printed)
    # A figure or a finding is not cut in two by the end of a page.
    assert re.search(r"figure \{[^}]*break-inside: avoid", CSS)
    assert re.search(r"\.finding \{[^}]*break-inside: avoid", CSS)
