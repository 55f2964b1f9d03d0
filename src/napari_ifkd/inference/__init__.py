"""Tiles to a seamless probability map, and the map to a pseudo-mask."""

from .domain import domain_warning
from .predict import predict_map
from .predictor import Predictor, predict_patches
from .probability_map import ProbabilityMap, open_map
from .pseudo_mask import image_score, smooth, smooth_and_threshold

__all__ = [
    "Predictor",
    "ProbabilityMap",
    "domain_warning",
    "image_score",
    "open_map",
    "predict_map",
    "predict_patches",
    "smooth",
    "smooth_and_threshold",
]
