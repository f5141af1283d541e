"""The report of a comparison: one page that opens offline, and the same tables in Markdown."""

from aeattn.report.page import write_report

__all__ = ["write_report"]
