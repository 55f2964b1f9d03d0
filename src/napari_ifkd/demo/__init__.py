"""The demo: workflow, summary and comparison picture."""

from .workflow import display_missing, run_demo, summary_rows

__all__ = ["display_missing", "run_demo", "summary_rows"]
