"""Reports of a run, made from its log alone: a page, Markdown or JSON."""

from diag.reporting.forms import to_html, to_json, to_markdown, write_report

__all__ = ["to_html", "to_json", "to_markdown", "write_report"]
