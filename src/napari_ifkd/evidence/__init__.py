"""Points as evidence: from a few answered places to the candidate and threshold to use, with intervals that say how sure that is."""

from .answers import Answers
from .calibration import Calibration, calibrate
from .choice import Choice, Incumbent, choose
from .estimates import Estimates, Interval, estimate
from .frame import THRESHOLDS, Frame
from .sampler import Proposal, propose

__all__ = [
    "THRESHOLDS",
    "Answers",
    "Calibration",
    "Choice",
    "Estimates",
    "Frame",
    "Incumbent",
    "Interval",
    "Proposal",
    "calibrate",
    "choose",
    "estimate",
    "propose",
]
