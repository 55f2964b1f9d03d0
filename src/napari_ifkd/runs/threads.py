"""How many CPU threads torch uses."""

from __future__ import annotations


def use_threads(count: int) -> None:
    """Set torch's CPU threads; 0 leaves torch's own choice."""
    if count:
        import torch

        torch.set_num_threads(count)
