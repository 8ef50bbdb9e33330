"""The three forms of a report, and the one that a file's suffix asks for."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from diag.diagnosis import diagnose
from diag.diagnosis.findings import Diagnosis, plain_number
from diag.log import Log
from diag.reporting.evidence import exhibits
from diag.reporting.facts import STATUS_WORDS, Facts, gather
from diag.reporting.survey import Survey
from diag.reporting.words import duration, moment, number

SCHEMA = 1

# What a page shows of long tables; the log has the rest.
_LIMITS = MappingProxyType({"rows": 300, "happenings": 100})


def write_report(log: Log, path: str | os.PathLike[str], diagnosis: Diagnosis | None = None) -> Path:
    """Write the report of a run; the suffix of the file decides its form.

    The file appears whole or not at all, and the same log always gives the same bytes.

    Args:
        log: The run: live, closed or killed.
        path: Ends in ``.html``, ``.md`` or ``.json``. Missing folders are made.
        diagnosis: Of this run; made from the log where it is not given.

    Returns:
        The path.

    Raises:
        ValueError: If the suffix is another.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    forms = {".html": to_html, ".md": to_markdown, ".json": to_json}
    if path.suffix not in forms:
        raise ValueError(
            f"write_report needs a file that ends in {', '.join(forms)}; it got {path.name!r}; "
            f"rename it, or call to_html, to_markdown or to_json for the text itself"
        )
    survey = Survey.of(log)
    text = forms[path.suffix](survey, diagnose(survey) if diagnosis is None else diagnosis)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def to_html(log: Log, diagnosis: Diagnosis) -> str:
    """One self-contained page: verdict, findings, figures, tables.

    It loads nothing and runs nothing, and reads on paper, on a phone and in the dark. Lines are drawn by
    their envelope and maps by blocks, so the page stays below 2 MB however long the run is.

    Args:
        log: The run.
        diagnosis: Of this run.

    Returns:
        HTML.
    """
    survey = Survey.of(log)
    return _render("report.html.jinja", gather(survey, diagnosis), exhibits=exhibits(survey, diagnosis))


def to_markdown(log: Log, diagnosis: Diagnosis) -> str:
    """The report without its figures, for a pull request or a terminal.

    Args:
        log: The run.
        diagnosis: Of this run.

    Returns:
        GitHub-flavoured Markdown. Text of the log cannot become HTML in it.
    """
    return re.sub(r"\n{3,}", "\n\n", _render("report.md.jinja", gather(log, diagnosis)))


def to_json(log: Log, diagnosis: Diagnosis) -> str:
    """The report as data, for a program.

    Its keys, and those of what is in it, are described in ``report.schema.json`` beside this module, a JSON
    Schema that `report_schema` reads.

    NaN, which means "no number", is null; an infinity is the text ``"Infinity"`` or ``"-Infinity"``.

    Args:
        log: The run.
        diagnosis: Of this run.

    Returns:
        JSON, indented, with a newline at its end.
    """
    facts = gather(log, diagnosis)
    report = {
        "schema": SCHEMA,
        "run": asdict(facts.run),
        "verdict": facts.verdict,
        "not_found": dict(facts.not_found),
        "diagnosis": diagnosis.to_json(),
        "layers": [asdict(layer) for layer in facts.layers],
        "coverage": [asdict(row) for row in facts.coverage],
        "absent_series": facts.absent_series,
        "unheard_layers": facts.unheard_layers,
        "happenings": [happening._asdict() for happening in facts.happenings],
        "configuration": dict(facts.configuration),
        "optimizers": dict(facts.optimizers),
        "environment": dict(facts.environment),
        "recording": {"seconds": facts.recording_seconds, "share": facts.recording_share},
    }
    return json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report; ``["$defs"]["diagnosis"]`` is that of a diagnosis.

    Example:
        >>> report_schema()["$defs"]["diagnosis"]["required"]
        ['status', 'findings', 'not_assessed']
    """
    return json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    """Plain data that JSON can carry."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return plain_number(value) if isinstance(value, float) else value


def _render(template: str, facts: Facts, **more: Any) -> str:
    return ENVIRONMENT.get_template(template).render(
        facts=facts,
        status=STATUS_WORDS[facts.diagnosis.status],
        layer_series=list(facts.layers[0].last) if facts.layers else [],
        cost=_cost(facts),
        limits=_LIMITS,
        **more,
    )


def _cost(facts: Facts) -> str:
    if math.isnan(facts.recording_seconds):
        return "The time that recording took was not measured."
    took = f"Recording took {duration(facts.recording_seconds)}"
    if math.isnan(facts.recording_share):
        return f"{took}."
    return f"{took}, {_share(facts.recording_share)} of the time until the last recorded step."


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{number(100 * value)} %"


def _name(name: str) -> Markup:
    """A name as code, which may break after an underscore or a dot."""
    return Markup("<code>{}</code>").format(Markup("<wbr>").join(re.split(r"(?<=[_./])", name)))


def _prose(text: str) -> Markup:
    """Text with its `code` marked as such."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped above


def _linked(reference: str) -> Markup:
    """A reference whose address or arXiv number can be followed."""
    escaped = str(escape(reference))
    linked = re.sub(r"https?://[^\s&<]+[^\s&<.,;)]", r'<a href="\g<0>">\g<0></a>', escaped)
    return Markup(  # noqa: S704  # escaped above
        re.sub(r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1">\g<0></a>', linked)
    )


def _plain_markdown(text: str) -> str:
    """Text that stays text in Markdown, in a table too."""
    return re.sub(r"([\[\]|*])", r"\\\1", " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;"))


def _code(text: str) -> str:
    """Text as a Markdown code span, whatever backticks it holds."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, padding = "`" * (longest + 1), " " if longest else ""
    body = " ".join(text.split()).replace("|", r"\|")
    return f"{fence}{padding}{body}{padding}{fence}" if body else "–"


def write_whole(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Markdown is no HTML: its own filters escape what needs it.
        autoescape=select_autoescape(disabled_extensions=("md.jinja",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": _code,
        "duration": duration,
        "linked": _linked,
        "moment": moment,
        "name": _name,
        "number": number,
        "plain": _plain_markdown,
        "prose": _prose,
        "share": _share,
    }
    return environment


ENVIRONMENT = _environment()
