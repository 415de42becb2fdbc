"""The report of one run: its pictures, curves, figures and settings, as a page that needs no server."""

from tinystyle.training.report.page import write_report

__all__ = ["write_report"]
