"""Tiles to a seamless probability map, and the map to a pseudo-mask."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .domain import chance_warning, domain_warning, few_slides_warning, warnings_of
    from .file_map import maps_of_tiles, write_file_map
    from .map_source import FileMap, MapSource, open_file_map, sha256_of
    from .patch_maps import read_patch_maps
    from .predict import predict_map
    from .predictor import Predictor, predict_patches
    from .probability_map import ProbabilityMap, open_map
    from .pseudo_mask import image_score, smooth, smooth_and_threshold

__all__ = [
    "FileMap",
    "MapSource",
    "Predictor",
    "ProbabilityMap",
    "chance_warning",
    "domain_warning",
    "few_slides_warning",
    "image_score",
    "maps_of_tiles",
    "open_file_map",
    "open_map",
    "predict_map",
    "predict_patches",
    "read_patch_maps",
    "sha256_of",
    "smooth",
    "smooth_and_threshold",
    "warnings_of",
    "write_file_map",
]

_HOME = {
    "domain": ("chance_warning", "domain_warning", "few_slides_warning", "warnings_of"),
    "file_map": ("maps_of_tiles", "write_file_map"),
    "map_source": ("FileMap", "MapSource", "open_file_map", "sha256_of"),
    "patch_maps": ("read_patch_maps",),
    "predict": ("predict_map",),
    "predictor": ("Predictor", "predict_patches"),
    "probability_map": ("ProbabilityMap", "open_map"),
    "pseudo_mask": ("image_score", "smooth", "smooth_and_threshold"),
}


def __getattr__(name: str) -> Any:
    # on first use: the window asks for cards and maps, and must not load torch for them
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
