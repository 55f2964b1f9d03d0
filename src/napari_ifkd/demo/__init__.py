"""The demo: workflow, summary and comparison picture."""

from .workflow import DemoPlan, display_missing, run_demo, summary_rows

__all__ = ["DemoPlan", "display_missing", "run_demo", "summary_rows"]
