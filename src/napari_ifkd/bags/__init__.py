"""Bags: images with image-level labels, from patch folders and from tiles of slides; splits and augmentation."""

from .bags import Bags, join_bags
from .patches import read_patch_masks, read_patches
from .split import split_groups

__all__ = ["Bags", "join_bags", "read_patch_masks", "read_patches", "split_groups"]
