"""Distillation: losses, the stage-1 teacher, rounds and switch, acceptance, metrics. Pure torch; yields events."""

from .acceptance import decide
from .fixed import FixedTeacher
from .metrics import Evaluation, evaluate_masks
from .rounds import Outcome, distill
from .stage1 import train_teacher

__all__ = ["Evaluation", "FixedTeacher", "Outcome", "decide", "distill", "evaluate_masks", "train_teacher"]
