"""Points as evidence: from a few answered places to the candidate and threshold to use, with intervals that say how sure that is."""

from .answers import Answers
from .calibration import Calibration, calibrate
from .choice import Choice, Incumbent, choose, settle
from .estimates import Estimates, Interval, estimate
from .frame import FRAME_PIXELS, THRESHOLDS, Frame
from .places import Place, draw_places, probability_at
from .sampler import Proposal, propose

__all__ = [
    "FRAME_PIXELS",
    "THRESHOLDS",
    "Answers",
    "Calibration",
    "Choice",
    "Estimates",
    "Frame",
    "Incumbent",
    "Interval",
    "Place",
    "Proposal",
    "calibrate",
    "choose",
    "draw_places",
    "estimate",
    "probability_at",
    "propose",
    "settle",
]
