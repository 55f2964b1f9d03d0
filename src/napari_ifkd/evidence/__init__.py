"""Evidence for choosing: from a few answered places, or reference masks, to the candidate and threshold to use, and how sure that is."""

from .answers import Answers
from .calibration import Calibration, calibrate
from .choice import Choice, Incumbent, choose, settle
from .estimates import estimate
from .frame import FRAME_PIXELS, THRESHOLDS, Frame
from .masks import BlockCounts, estimate_on_masks
from .measures import Candidates, Estimates, Interval
from .places import Drawn, Place, draw_places, probability_at
from .sampler import Proposal, propose

__all__ = [
    "FRAME_PIXELS",
    "THRESHOLDS",
    "Answers",
    "BlockCounts",
    "Calibration",
    "Candidates",
    "Choice",
    "Drawn",
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
    "estimate_on_masks",
    "probability_at",
    "propose",
    "settle",
]
