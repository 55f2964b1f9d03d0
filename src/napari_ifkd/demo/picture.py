"""The comparison picture: slide, truth, teacher, last round and accepted round side by side, in whole and in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_ifkd.annotations import read_mask
from napari_ifkd.files import durable
from napari_ifkd.inference import open_map
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide

PANEL = 460  # px wide
MARGIN, GAP, HEAD, FOOT = 28, 12, 92, 64
RIGHT, WRONG, MISSED = (0, 158, 115), (213, 94, 0), (86, 180, 233)  # told apart by the colour-blind too (Okabe and Ito)
INK, FAINT, PAPER = (28, 30, 34), (104, 110, 118), (255, 255, 255)
_DETAIL_UM = 640.0


def draw_comparison(out: Path, summary: Mapping[str, Mapping[str, Any]]) -> Path:
    """Draw comparison.png of a demo.

    Parameters
    ----------
    out : the demo's folder, with ``slide/`` and ``run/``
    summary : what :func:`napari_ifkd.demo.workflow.summarise` returned

    Returns
    -------
    Path
        Of the picture.
    """
    run = RunFolder.open(out / "run")
    inference = run.config.inference
    with open_slide(out / "slide" / "phantom.tiff") as slide, read_mask(out / "slide" / "phantom_truth.tiff") as truth:
        height, width = slide.shape_level0
        side = round(_DETAIL_UM / slide.require_mpp())
        full_truth = truth.read(0, 0, *truth.shape)
        boxes = [(0, 0, height, width), (*_telling_place(full_truth, side), side, side)]
        columns: list[tuple[str, str, ProbabilityMap | None]] = [("slide", "", None), ("truth", f"{full_truth.mean():.0%} tumour", None)]
        for name, title in (("teacher", "teacher"), ("student", "last round"), ("accepted", "accepted")):
            scores = summary[name]
            path = run.maps(int(scores["round"]))[slide.name]
            which = f" (round {scores['round']})" if scores["round"] else (" (the teacher)" if name != "teacher" else "")
            columns.append((title + which, f"F1 {scores['f1']:.3f}   IoU {scores['iou']:.3f}", open_map(path)))
        rows = [
            [_panel(slide, full_truth, title, pmap, box, inference.threshold, inference.sigma_px) for title, _, pmap in columns]
            for box in boxes
        ]
    picture = _assemble(rows, [(title, told) for title, told, _ in columns], summary["all_foreground"])
    with durable(out / "comparison.png") as aside:
        picture.save(aside, "PNG", optimize=True)
    return out / "comparison.png"


def _telling_place(truth: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Return the origin (y, x) of the window whose tumour share is nearest one half, away from the border."""
    step = max(side // 8, 1)
    coarse = cv2.resize(
        truth.astype(np.float32), (max(truth.shape[1] // step, 1), max(truth.shape[0] // step, 1)), interpolation=cv2.INTER_AREA
    )
    share = cv2.boxFilter(coarse, -1, (8, 8), normalize=True, borderType=cv2.BORDER_CONSTANT)
    inner = share[8:-8, 8:-8]
    if not inner.size:
        return 0, 0
    y, x = np.unravel_index(np.abs(inner - 0.5).argmin(), inner.shape)
    return int((y + 4) * step), int((x + 4) * step)


def _panel(
    slide: Slide,
    truth: NDArray[np.bool_],
    title: str,
    pmap: ProbabilityMap | None,
    box: tuple[int, int, int, int],
    threshold: float,
    sigma_px: float,
) -> NDArray[np.uint8]:
    """Draw one panel ``(h, PANEL, 3)`` of the part `box` (y, x, height, width in level-0 px)."""
    y, x, height, width = box
    shape = (round(PANEL * height / width), PANEL)
    rgb = slide.read_region((y, x), shape, slide.require_mpp() * width / PANEL)
    if title == "slide":
        return rgb
    actual = _share(truth[y : y + height, x : x + width], shape) >= 0.5
    if pmap is None:
        return _overlay(rgb, [(actual, RIGHT)])
    level = max(0, min(len(pmap.levels) - 1, int(np.log2(max(width / pmap.scale_yx[1] / PANEL, 1)))))
    mask = pmap.mask_levels(threshold, sigma_px)[level]
    sy, sx = slide.shape_level0[0] / mask.shape[0], slide.shape_level0[1] / mask.shape[1]
    part = np.asarray(mask[int(y / sy) : max(int((y + height) / sy), 1), int(x / sx) : max(int((x + width) / sx), 1)])
    found = _share(part, shape) >= 0.5
    return _overlay(rgb, [(actual & found, RIGHT), (found & ~actual, WRONG), (actual & ~found, MISSED)])


def _share(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float32]:
    way = cv2.INTER_AREA if mask.shape[1] > shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=way), np.float32)


def _overlay(rgb: NDArray[np.uint8], layers: list[tuple[NDArray[np.bool_], tuple[int, int, int]]]) -> NDArray[np.uint8]:
    """Tint each mask, and draw its outline, over the slide in grey: on purple the colours would be hard to tell apart."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    drawn = np.repeat(70 + 0.73 * grey[..., None], 3, axis=-1)
    for mask, colour in layers:
        drawn[mask] = 0.5 * drawn[mask] + 0.5 * np.asarray(colour, np.float32)
    image = np.ascontiguousarray(drawn.round().astype(np.uint8))
    for mask, colour in layers:
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, lines, -1, tuple(int(0.8 * c) for c in colour), 1)
    return image


def _assemble(rows: list[list[NDArray[np.uint8]]], labels: list[tuple[str, str]], all_foreground: Mapping[str, Any]) -> Image.Image:
    heights = [row[0].shape[0] for row in rows]
    width = 2 * MARGIN + len(labels) * PANEL + (len(labels) - 1) * GAP
    picture = Image.new("RGB", (width, HEAD + sum(heights) + GAP * (len(rows) - 1) + FOOT), PAPER)
    draw = ImageDraw.Draw(picture)
    title, text = ImageFont.load_default(24), ImageFont.load_default(17)
    y = HEAD
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            picture.paste(Image.fromarray(panel), (MARGIN + column * (PANEL + GAP), y))
        y += height + GAP
    for column, (name, told) in enumerate(labels):
        x = MARGIN + column * (PANEL + GAP)
        draw.text((x, 22), name, INK, font=title)
        draw.text((x, 56), told, FAINT, font=text)
    x, y = MARGIN, picture.height - FOOT + 20
    for colour, name in ((RIGHT, "tumour, found"), (WRONG, "found, but no tumour"), (MISSED, "tumour, missed")):
        draw.rounded_rectangle((x, y + 2, x + 20, y + 20), 4, fill=colour)
        draw.text((x + 30, y), name, INK, font=text)
        x += 60 + int(draw.textlength(name, font=text))
    told = f"For comparison, calling everything tumour: F1 {all_foreground['f1']:.3f}   IoU {all_foreground['iou']:.3f}"
    draw.text((width - MARGIN - int(draw.textlength(told, font=text)), y), told, FAINT, font=text)
    return picture
