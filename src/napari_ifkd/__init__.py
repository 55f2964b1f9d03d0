"""Iterative fusion-knowledge distillation of weakly supervised tumour segmentation, for napari and without it."""

# Nothing heavy here: napari imports this package at start-up.
__version__ = "0.1.0"
