"""File to pixels: slides, their pyramid and resolution, tissue, tiles, and the phantom slide."""

from .info import slide_info
from .phantom import phantom_field, write_phantom, write_phantom_patches
from .picture import Picture, open_picture
from .slide import Slide, open_slide
from .tiles import TileGrid, tile_grid
from .tissue import Tissue, find_tissue

__all__ = [
    "Picture",
    "Slide",
    "TileGrid",
    "Tissue",
    "find_tissue",
    "open_picture",
    "open_slide",
    "phantom_field",
    "slide_info",
    "tile_grid",
    "write_phantom",
    "write_phantom_patches",
]
