"""Bags: images with image-level labels, from patch folders and from tiles of slides; splits and augmentation."""

from .bags import Bags, join_bags
from .patches import read_patch_masks, read_patches
from .slide_bags import slide_bags
from .split import split_groups

__all__ = ["Bags", "join_bags", "read_patch_masks", "read_patches", "slide_bags", "split_groups"]
