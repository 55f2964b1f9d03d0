"""The model card: what a weights file must tell of itself to be used without its maker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_ifkd import __version__
from napari_ifkd.config import NetworkConfig  # noqa: TC001 - pydantic reads the annotation

from .normalisation import Normalisation


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class ModelCard(BaseModel):
    """What is known of a network: how to build it, what images it eats, where it comes from.

    Fields that a newer version may add are ignored, so its files stay readable.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, description="short name, such as phantom-teacher")
    network: NetworkConfig = Field(description="what to build; its fusion weights are always filled in on disk")
    readout: Literal["mil", "cam"] = Field(
        "mil", description="mil: side outputs; cam: activation maps of image-level classifiers, each of them a `network`"
    )
    cam_scales: tuple[float, ...] = Field((), description="cam: sizes at which an image is looked at, relative to its own")
    cam_networks: int = Field(1, ge=1, description="cam: classifiers (snapshots of one training) whose maps are accumulated")
    trunk_source: str = Field("", description="whose weights the trunk started from, with their licence where known; empty: drawn")
    mpp: float = Field(gt=0, description="working resolution the network was trained at, um/px")
    tile_px: int = Field(ge=1, description="side of the images it was trained on, px at `mpp`")
    normalisation: Normalisation = Normalisation()
    classes: tuple[str, ...] = ("normal", "tumour")
    trained_on: str = Field("", description="the data, and what kind of labels, in words")
    learned_from: tuple[str, ...] = Field((), description="quick hashes of the slides, where it learnt from slides alone; empty: not told")
    told_apart: float | None = Field(
        None,
        description="share of pairs of an image with and one without tumour, of those kept aside, that it puts in order; None: too few",
    )
    called_rightly: float | None = Field(
        None, description="share of the images kept aside that it calls rightly, with tumour or without; None: too few"
    )
    domain: str = Field("", description="`phantom`: knows the built-in phantom slides only; empty: real tissue")
    licence: str = ""
    created: str = Field(default_factory=_now, description="ISO 8601, UTC")
    package_version: str = __version__
    weights_sha256: str = Field("", description="hash over all tensors; filled in when saved, checked when loaded")
    notes: str = ""

    def trunk_source_of(self, network: NetworkConfig) -> str:
        """Return whose weights a network that learnt from this one may have taken over: its own trunk's, where the two are alike."""
        alike = all(getattr(network, part) == getattr(self.network, part) for part in ("name", "trunk", "width"))
        return self.trunk_source if alike else ""
