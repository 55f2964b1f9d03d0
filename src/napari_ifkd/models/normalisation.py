"""What is done to an image before a network sees it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Normalisation(BaseModel):
    """Mean and standard deviation of each channel (R, G, B), as shares of full brightness; ImageNet's by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
