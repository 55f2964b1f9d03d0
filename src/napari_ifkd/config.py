"""The one source of every default: frozen, strict settings with units and limits; YAML in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError

NetworkName = Literal["vgg-mil", "resnet-mil", "swin-mil", "sa-mil", "encoder-mil", "custom"]
Method = Literal["mil", "cam", "oaa", "supervised"]
Stage1Loss = Literal["const-dice", "gm-bce", "topk-bce"]
Mode = Literal["robust", "paper", "released", "oeem"]
Structure = Literal["fusion", "fused", "sides"]


class Settings(BaseModel):
    """Base of all settings: immutable, and unknown keys are an error (typos must not vanish)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(Settings):
    """A network to build."""

    name: NetworkName = Field(
        "vgg-mil",
        description="the first four are the paper's; encoder-mil stands on any timm encoder, custom on a module of your own",
    )
    width: float = Field(0.5, gt=0, le=2, description="channel multiplier of the trunk; 1 is the paper's (VGG and SA only)")
    pretrained: bool = Field(False, description="start the trunk from its published weights (needs width 1 and a network connection)")
    trunk: str | None = Field(None, description="timm model name, or hf-hub:ORG/REPO with its weights; None is the network's own")
    trunk_weights: str | None = Field(
        None, description="file of trunk weights: .safetensors, or .pt, .pth, .bin that hold tensors only; wins over `pretrained`"
    )
    trunk_options: dict[str, bool | int | float | str] = Field(
        {}, description="passed to the trunk's constructor, such as init_values of a ViT (encoder-mil only)"
    )
    frozen: bool = Field(False, description="the trunk's weights stay as they are; only the side heads learn")
    stages: tuple[int, ...] | None = Field(
        None, description="stages of the trunk (blocks of a ViT) that get a side output; None: strides 4, 8, 16, or thirds of a ViT's depth"
    )
    fusion_weights: tuple[float, ...] | None = Field(None, description="w_i of the side outputs, summing to 1; None is the paper's")
    custom: str | None = Field(None, description="for custom: its name among the entry points `napari_ifkd.networks` of installed packages")


class TileConfig(Settings):
    """Tiles of slides, and patches: the images that become bags."""

    size_px: int = Field(128, ge=32, le=2048, description="side of a tile, px at `mpp`")
    mpp: float = Field(1.0, gt=0.05, lt=20, description="working resolution, um/px; patches without a resolution are taken to have it")
    max_tiles: int = Field(4096, ge=2, description="bags drawn from one slide at most (seeded draw); fewer are quicker")
    min_tissue: float = Field(0.5, ge=0, le=1, description="share of a tile that must be tissue")
    positive_above: float = Field(
        0.7,
        ge=0.5,
        le=1,
        description="teacher's image-level score from which a tile is a positive bag; higher: fewer tiles, but surer ones",
    )
    negative_below: float = Field(
        0.3, ge=0, le=0.5, description="teacher's image-level score up to which a tile is a negative bag; between the two it is left out"
    )
    min_tumour: float = Field(
        0.05, gt=0, le=1, description="`patches`: least annotated share of a positive tile; with less of it, but some, a tile is left out"
    )
    validation_share: float = Field(0.2, gt=0, lt=0.9, description="share of groups held out for validation")
    group_column: str | None = Field(None, description="column of labels.csv that names the group; None looks for the usual names")


class NoiseConfig(Settings):
    """Augmentation of the images a network learns from; flips and rotations are always part of it."""

    stain: float = Field(0.5, ge=0, lt=1, description="each stain (HED) is multiplied by a number in 1 -+ this")
    zoom: tuple[float, float] = Field((1.0, 1.0), description="least and greatest magnification")
    paste: float = Field(0.5, ge=0, le=1, description="share of positive images into which a box of a negative one is pasted (CutMix)")

    @model_validator(mode="after")
    def _ordered(self) -> NoiseConfig:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError("zoom must be two numbers above 0, the smaller first")
        return self


class CamConfig(Settings):
    """Class activation maps, for the methods `cam` and `oaa`."""

    scales: tuple[float, ...] = Field(
        (0.5, 1.0, 1.5), description="sizes at which an image is looked at, relative to its own; maps are averaged"
    )
    snapshots: int = Field(4, ge=2, description="`oaa`: networks of so many epochs, evenly spaced, whose maps are accumulated (maximum)")


class Stage1Config(Settings):
    """Stage 1: the teacher, from image-level labels only (`supervised`, the upper bound, excepted)."""

    method: Method = Field(
        "mil",
        description="mil: side outputs under `loss`; cam: multi-scale activation maps of an image-level classifier; oaa: those of several "
        "epochs accumulated; supervised: pixel masks, for comparison only",
    )
    loss: Stage1Loss = Field("topk-bce", description="of `mil`: const-dice is the paper's; topk-bce keeps the area best")
    top_share: float = Field(0.3, gt=0, le=1, description="share of pixels `topk-bce` looks at")
    gm_exponent: float = Field(4.0, gt=0, description="r of the generalised mean in `gm-bce`")
    epochs: int = Field(30, ge=1, description="passes over the bags")
    batch: int = Field(32, ge=2, description="bags learned from at once, half of each class where both exist; fewer need less memory")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's, with a cosine schedule to zero; the last epoch is kept")
    side_rates: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="learning rate of the side heads relative to the trunk's: one number for all, or one a side"
    )
    weight_decay: float = Field(5e-5, ge=0, description="Adam's")
    augment: bool = Field(True, description="augmentation, as strong as `noise` says")
    noise: NoiseConfig = NoiseConfig()
    cam: CamConfig = CamConfig()


class RobustConfig(Settings):
    """The parts of mode `robust`; each can be switched off and ablated."""

    semimetric: bool = Field(True, description="Dice semimetric instead of soft Dice")
    pixel_bce: bool = Field(True, description="binary cross-entropy on the fused map to the soft target")
    confidence: float = Field(0.05, ge=0, lt=0.5, description="tau: pixels with |q - 0.5| < tau do not count; 0 switches the mask off")
    hard_negatives: bool = Field(True, description="the target of negative bags is zero; off: the teacher's map, as for positive ones")
    averaged_views: bool = Field(
        True, description="teacher's maps averaged over the 8 flips and rotations: smoother, and it looks eight times"
    )
    centred: bool = Field(False, description="teacher's maps are moved so that Otsu's threshold between their two classes is 0.5")
    label_loss: float = Field(
        1.0, ge=0, description="weight of stage 1's loss to the image labels that a person gave, beside what the teacher says; 0 is off"
    )
    hold_area: bool = Field(
        True,
        description="after a round the student's output is moved, by one number of logits, until its mean positive area is within "
        "acceptance.max_area_shift of the first teacher's (or the prior): labels teach it an order of pixels, not an area",
    )
    augment: bool = Field(
        True, description="augmentation of the student's images, as strong as `noise` says; the teacher sees them as they are"
    )
    noise: NoiseConfig = NoiseConfig()
    warm_start: bool = Field(True, description="student starts from a copy of the teacher where the kinds agree")
    reset_optimiser: bool = Field(True, description="optimiser state reset at each switch")


class RoundConfig(Settings):
    """Stage 2: rounds of fusion knowledge distillation."""

    rounds: int = Field(3, ge=1, le=100, description="teacher-student rounds at most; one can look at each, and stop")
    epochs: int = Field(10, ge=1, description="passes over the bags in a round; few are a quick try")
    mode: Mode = Field(
        "robust",
        description="robust, recommended, resists the teacher's errors; paper is as published; released is what its program does; "
        "oeem trains once on the fixed pseudo-mask",
    )
    structure: Structure = Field(
        "fusion",
        description="which outputs of the teacher teach which of the student's: fusion is the paper's, the others are its ablations",
    )
    batch: int = Field(32, ge=2, description="bags learned from at once, half of each class where both exist; fewer need less memory")
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="size of the student's steps (Adam's, cosine to zero in each round); with smaller ones it stays nearer to its teacher",
    )
    copy_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of it where a copy of the teacher learns without image labels that a person gave: large steps lead away",
    )
    side_rates: tuple[float, ...] = Field((1.0,), min_length=1, description="as in stage 1")
    weight_decay: float = Field(5e-5, ge=0, description="Adam's")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay a step of the moving average of the student that is judged and handed over in its place; 0 is off",
    )
    corrections_weight: float = Field(
        1.0, ge=0, description="weight of the cross-entropy to corrected pixels, beside their place in the target"
    )
    points_as_labels: bool = Field(False, description="answered points count as corrected pixels too")
    point_radius_um: float = Field(4.0, gt=0, description="radius of the disc around an answered point that counts as corrected, um")
    robust: RobustConfig = RobustConfig()


class AcceptanceConfig(Settings):
    """When a student may become the teacher (mode `robust`; `paper` and `released` always switch)."""

    rule: Literal["cautious", "always"] = Field("cautious", description="always: switch after every round, whatever it did")
    max_area_shift: float = Field(
        0.15,
        gt=0,
        description="veto on a round whose mean positive area is further than this from the first teacher's (or the prior); larger: bolder",
    )
    max_accuracy_drop: float = Field(0.02, ge=0, description="veto: fall of the bag accuracy on the validation split from the teacher's")
    area_prior: float | None = Field(None, gt=0, lt=1, description="known mean tumour share of positive bags; replaces the first teacher's")


class InferenceConfig(Settings):
    """Slide to map, and map to mask."""

    overlap: float = Field(0.25, ge=0, le=0.5, description="share of a tile's side shared with its neighbour, blended")
    batch: int = Field(8, ge=1, description="tiles in a forward pass")
    sigma_px: float = Field(3.0, ge=0, description="Gaussian smoothing of the probability before the threshold, px of the map")
    threshold: float = Field(0.5, ge=0, le=1, description="probability from which a pixel is tumour")
    tissue_only: bool = Field(True, description="leave glass out (probability 0)")


class Config(Settings):
    """Everything a run needs to be run again, besides its data."""

    network: NetworkConfig = NetworkConfig()
    student: NetworkConfig | None = Field(
        None, description="the student's network, with the settings of `network`; None is the teacher's own kind"
    )
    tiles: TileConfig = TileConfig()
    stage1: Stage1Config = Stage1Config()
    rounds: RoundConfig = RoundConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    inference: InferenceConfig = InferenceConfig()
    seed: int = Field(0, ge=0, lt=2**31, description="of every draw (weights, batches, tiles, augmentation): another seed is another try")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="auto: bf16 autocast where the processor has it")
    threads: int = Field(0, ge=0, description="CPU threads of torch; 0 is torch's own choice")

    def replaced(self, **dotted: Any) -> Config:
        """Return a copy with settings given by dotted name replaced; None leaves a setting as it is.

        Parameters
        ----------
        **dotted
            Such as ``replaced(**{"rounds.epochs": 2, "seed": 1})``.

        Raises
        ------
        ConfigError
            If a name is unknown or a value outside its limits.
        """
        data = self.model_dump(mode="json")
        for name, value in dotted.items():
            if value is None:
                continue
            node = data
            *path, last = name.split(".")
            for key in path:
                if node.get(key) is None:
                    node[key] = {}
                node = node[key]
            node[last] = value
        return validated(data, "settings")


def validated(data: Any, what: str | Path) -> Config:
    """Return the settings in plain data; ConfigError lists every problem, with `what` as the place."""
    try:
        return Config.model_validate({} if data is None else data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'top level'}: {e['msg']}" for e in error.errors())
        raise ConfigError(what, problems, "Correct these settings; docs/config.md lists all of them") from error


def load_config(path: str | Path | None) -> Config:
    """Read settings from a YAML file; whatever it does not name keeps its default.

    Parameters
    ----------
    path : path of a YAML file, or None for the defaults

    Raises
    ------
    ConfigError
        If the file cannot be read or any setting does not fit (all problems are listed).
    """
    if path is None:
        return Config()
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(path, f"cannot be read as YAML ({str(error).splitlines()[0]})", "Give a YAML file of settings") from error
    return validated(data, path)


def dump_config(config: Config) -> str:
    """Write settings as YAML, every one named."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text
