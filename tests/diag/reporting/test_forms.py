"""The page, the Markdown and the data; and the file that they are written to."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from diag.diagnosis import diagnose
from diag.diagnosis.findings import Diagnosis, Evidence, Finding
from diag.events import Happening, Layer, Model, Parameter, Reading
from diag.log import Log, LogWriter, Series, write_run
from diag.reporting import report_schema, to_html, to_json, to_markdown, write_report
from tests.diag.page import Page

HEALTHY = Diagnosis("healthy", (), {})
HOSTILE = "<script>alert(1)</script>"
FORMS = [to_html, to_markdown, to_json]


@pytest.fixture(scope="module")
def html(log, diagnosis) -> str:
    return to_html(log, diagnosis)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


class TestPage:
    def test_it_is_well_formed_and_ids_are_unique(self, page):
        assert page.open == []
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))

    def test_the_verdict_comes_before_the_findings_and_these_before_the_evidence(self, page):
        order = [
            "2 faults and 1 warning in 30 recorded steps",
            "Learning rate too high",
            "Dead units",
            "Vanishing gradients",
            "Rules that could not be assessed",
            "Gradient norm by depth",
            "In order of execution",
            "how much of it is numbers",
            "Cost of recording",
        ]
        places = [page.text.index(words) for words in order]
        assert places == sorted(places)

    def test_a_finding_is_told_with_its_evidence_and_its_remedy(self, page):
        for words in (
            "in layer features. 1 , from step 160",
            "71 % of the units of features.1 are zero on all of 1,024 examples",
            "Measured 0.71",
            "Healthy band at most 0.5",
            "Readings outside 14",
            "Last healthy step 150",
            "Confidence 85 %",
            "passes no gradient back",
            "or use LeakyReLU so that",
            "Dying ReLU and Initialization",
        ):
            assert words in page.text
        links = {element.attributes.get("href") for element in page.elements if element.tag == "a"}
        assert {"https://arxiv.org/abs/1903.06733", "https://cs231n.github.io/neural-networks-3/"} <= links

    def test_a_healthy_run_says_what_was_looked_for(self, log):
        text = Page(to_html(log, HEALTHY)).text
        assert "Nothing was found wrong." in text
        assert "Looked for and not found" in text
        assert "Dead units" in text

    def test_where_nothing_could_be_judged_it_says_so(self, log):
        text = Page(to_html(log, Diagnosis("not_assessable", (), {"dead_units": "a series"}))).text
        assert "Not assessable" in text
        assert "Nothing could be judged." in text

    def test_an_empty_log_has_a_page_too(self, tmp_path):
        LogWriter(tmp_path, describe=Model).close()
        text = Page(to_html(Log(tmp_path), Diagnosis("not_assessable", (), {}))).text
        assert "none recorded" in text
        assert "no series that a figure is made of" in text

    def test_a_live_run_is_said_to_be_live(self, unclosed):
        assert "still being recorded" in Page(to_html(unclosed, HEALTHY)).text

    def test_it_loads_nothing_and_runs_nothing(self, html, page):
        for element in page.elements:
            assert element.tag not in {"script", "link", "iframe", "object", "embed", "base"}
            assert not any(name.startswith("on") for name in element.attributes)
            for name in ("src", "srcset", "href", "xlink:href", "data", "action"):
                target = element.attributes.get(name) or ""
                assert element.tag == "a" or not target or target.startswith(("#", "data:image/png;base64,"))
        assert not re.search(r"@import|url\((?!#)", html)

    def test_every_figure_describes_itself_and_has_its_numbers(self, page):
        tags = [element.tag for element in page.elements]
        figures = tags.count("figure")
        assert figures == tags.count("svg") == tags.count("details") == tags.count("figcaption") == 9
        ids = {element.attributes.get("id") for element in page.elements}
        for element in page.elements:
            if element.tag == "svg":
                assert element.attributes["role"] == "img"
                assert set((element.attributes["aria-labelledby"] or "").split()) <= ids

    @pytest.mark.parametrize(
        ("layers", "steps"), [(200, 5_000), (1_000, 1_500)], ids=["many steps", "many layers"]
    )
    def test_it_stays_below_two_megabytes(self, layers, steps):
        assert len(to_html(long_log(layers, steps), HEALTHY).encode()) < 2_000_000


def long_log(layers: int, steps: int) -> Log:
    """What a log of noise would answer; writing one this long takes longer than a test may."""
    rng = np.random.default_rng(0)
    names = [f"encoder.layers.{index}.attention.output.dense" for index in range(layers)]
    weights = [f"{name}.weight" for name in names]
    values = {
        ("layers", "gradient_norm"): (names, np.exp(3 * rng.standard_normal((steps, layers)))),
        ("layers", "dead_unit_rate"): (names, rng.random((steps, layers))),
        ("parameters", "update_ratio"): (weights, np.exp(3 * rng.standard_normal((steps, layers)))),
        ("network", "criterion_loss"): (["criterion_loss"], rng.random((steps, 1))),
        ("curvature", "top_eigenvalues"): (list("01234"), rng.random((steps, 5))),
        ("scalars", "val_loss"): (["val_loss"], rng.random((steps, 1))),
    }
    # To a million steps, whose numbers take the most room.
    recorded = (1_000_000 // steps) * np.arange(steps)

    def series(name: str, of: str) -> Series:
        columns, numbers = values[of, name]
        return Series(name, of, recorded, tuple(columns), numbers)

    axes = ("layers", "parameters", "network", "curvature", "scalars")
    stand_in = SimpleNamespace(
        path=Path("run"),
        run={},
        model=Model(
            tuple(Layer(name, "Linear", (768,), (f"{name}.weight",)) for name in names),
            tuple(Parameter(f"{name}.weight", name, (768, 768)) for name in names),
        ),
        state="killed",
        end_reason=None,
        names={axis: tuple(name for of, name in values if of == axis) for axis in axes},
        steps=recorded,
        ranks=(0,),
        happenings=tuple(Happening(step, "non_finite", names[0], "x" * 500) for step in range(1_000)),
        series=series,
    )
    return cast(Log, stand_in)


@pytest.fixture
def hostile(tmp_path) -> tuple[Log, Diagnosis]:
    """Whatever may be text is an attack."""
    model = Model(
        (Layer(HOSTILE, HOSTILE, (2,), (f"{HOSTILE}.weight",)),),
        (Parameter(f"{HOSTILE}.weight", HOSTILE, (2, 2)),),
    )
    write_run(tmp_path, {HOSTILE: HOSTILE})
    writer = LogWriter(tmp_path, describe=lambda: model)
    readings = [
        Reading("gradient_norm", HOSTILE, 1.0, "layers"),
        Reading("update_ratio", f"{HOSTILE}.weight", 1.0, "parameters"),
        Reading("<script>loss", "", 1.0, "network"),
    ]
    for step in range(3):
        writer.write(step, readings)
    writer.write_scalars(1, {f"loss{HOSTILE}": 1.0})
    writer.write_happening(
        Happening(1, HOSTILE, HOSTILE, f"{HOSTILE} `{HOSTILE}` | [x](javascript:alert(1))")
    )
    writer.close(HOSTILE)
    evidence = Evidence("gradient_norm", 1.0, HOSTILE, 1, None, f"`{HOSTILE}`")
    finding = Finding(
        HOSTILE,
        "fault",
        HOSTILE,
        1,
        evidence,
        HOSTILE,
        HOSTILE,
        1.0,
        (f'https://example.org/"onclick="{HOSTILE}',),
    )
    return Log(tmp_path), Diagnosis("fault", (finding,), {HOSTILE: HOSTILE})


class TestHostileText:
    def test_it_is_shown_on_the_page_and_never_an_element(self, hostile):
        html = to_html(*hostile)
        assert "<script" not in html.lower()
        page = Page(html)
        assert HOSTILE in page.text
        assert not any(name.startswith("on") for element in page.elements for name in element.attributes)

    def test_it_stays_text_in_markdown(self, hostile):
        outside_code = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", to_markdown(*hostile))
        assert "<script" not in outside_code
        assert "[x](" not in outside_code

    def test_it_is_data_in_json(self, hostile):
        assert json.loads(to_json(*hostile))["diagnosis"]["findings"][0]["layer"] == HOSTILE


class TestMarkdown:
    def test_it_has_the_verdict_first_and_every_finding(self, log, diagnosis):
        text = to_markdown(log, diagnosis)
        assert text.startswith("# mlp: Fault\n\n2 faults and 1 warning in 30 recorded steps")
        assert "### 2. Dead units (fault)\n\nIn layer `features.1`, from step 160.\n" in text

    def test_its_tables_are_tables(self, log, diagnosis):
        text = to_markdown(log, diagnosis)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            rows = table.strip().splitlines()
            assert len(rows) > 2
            assert re.fullmatch(r"\|( -{2,}:? \|)+", rows[1].replace("---:", "---:"))
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


class TestJson:
    def test_its_keys_are_the_documented_ones(self, log, diagnosis):
        report = json.loads(to_json(log, diagnosis))
        schema = report_schema()
        assert list(report) == schema["required"] == list(schema["properties"])
        assert report["schema"] == 1
        assert report["run"]["name"] == "mlp"
        assert report["diagnosis"] == json.loads(json.dumps(diagnosis.to_json()))

    def test_no_number_is_null_and_infinity_is_text(self, log, diagnosis):
        first, *others = diagnosis.findings
        endless = replace(first, evidence=replace(first.evidence, value=math.inf))
        report = json.loads(
            to_json(log, replace(diagnosis, findings=(endless, *others))), parse_constant=pytest.fail
        )
        assert report["diagnosis"]["findings"][0]["evidence"]["value"] == "Infinity"
        assert report["layers"][0]["last"]["dead_unit_rate"] is None


def test_reporting_needs_no_framework_and_no_window():
    code = (
        "import sys, diag.reporting; print(*{'torch', 'scratchnet', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


class TestFile:
    @pytest.mark.parametrize(
        ("suffix", "form"), [(".html", to_html), (".md", to_markdown), (".json", to_json)]
    )
    def test_the_suffix_decides_the_form(self, log, diagnosis, tmp_path, suffix, form):
        path = tmp_path / "reports" / "new" / f"report{suffix}"
        assert write_report(log, path, diagnosis) == path
        assert path.read_text(encoding="utf-8") == form(log, diagnosis)
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("name", ["report.pdf", "report", "report.HTML"])
    def test_another_suffix_is_refused(self, log, tmp_path, name):
        with pytest.raises(ValueError, match=rf"ends in \.html, \.md, \.json; it got '{name}'"):
            write_report(log, tmp_path / name)

    def test_without_a_diagnosis_the_log_is_diagnosed(self, log, tmp_path):
        path = write_report(log, str(tmp_path / "report.json"))
        assert json.loads(path.read_text())["diagnosis"] == json.loads(json.dumps(diagnose(log).to_json()))

    @pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
    def test_two_reports_of_one_log_are_the_same(self, log, diagnosis, form):
        assert form(log, diagnosis) == form(Log(log.path), diagnosis)

    def test_a_report_that_cannot_be_made_leaves_the_old_one(self, log, tmp_path, monkeypatch):
        path = tmp_path / "report.md"
        path.write_text("the old one")

        def fail(*_: Any) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            write_report(log, path, HEALTHY)
        assert path.read_text() == "the old one"
        assert not list(tmp_path.glob(".report*"))
