"""Distillation: losses, the stage-1 teacher, rounds and switch, acceptance, metrics. Pure torch; yields events."""

from .stage1 import train_teacher

__all__ = ["train_teacher"]
