"""Bags: images with image-level labels, from patch folders and tiles of slides; corrected tiles; splits and augmentation."""

from .bags import Bags, join_bags
from .hints import Hints, hinted_bags
from .patches import count_patches, read_patch_masks, read_patches
from .slide_bags import count_region_tiles, slide_bags
from .split import split_groups

__all__ = [
    "Bags",
    "Hints",
    "count_patches",
    "count_region_tiles",
    "hinted_bags",
    "join_bags",
    "read_patch_masks",
    "read_patches",
    "slide_bags",
    "split_groups",
]
