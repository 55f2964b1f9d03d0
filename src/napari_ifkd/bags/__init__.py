"""Bags: images with image-level labels, from patch folders and tiles of slides; corrected tiles; splits and augmentation."""

from .bags import Bags, join_bags
from .hints import Hints, hinted_bags
from .patches import read_patch_masks, read_patches
from .slide_bags import slide_bags
from .split import split_groups

__all__ = ["Bags", "Hints", "hinted_bags", "join_bags", "read_patch_masks", "read_patches", "slide_bags", "split_groups"]
