"""Reports, made from the log alone."""

from diag.reporting.forms import report_schema, to_html, to_json, to_markdown, write_report
from diag.reporting.overview import write_overview
from diag.reporting.survey import Survey

__all__ = ["Survey", "report_schema", "to_html", "to_json", "to_markdown", "write_overview", "write_report"]
