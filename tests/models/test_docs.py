"""What docs/models.md shows works as shown."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from napari_ifkd.config import validated
from napari_ifkd.models import dress

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not part of this installation")
def test_settings_and_code_of_the_page():
    settings = [validated(yaml.safe_load(block), PAGE) for block in blocks("yaml")]
    assert [config.network.name for config in settings] == ["encoder-mil"] * 2
    assert settings[0].student.name == "vgg-mil"
    (code,) = blocks("python")
    names: dict = {}
    exec(code, names)
    model = dress(names["build"](settings[0].network))
    assert (model.input_multiple, len(model.param_groups(1.0, (2.0,)))) == (4, 2)
    assert model(torch.zeros(2, 3, 30, 50)).fused.shape == (2, 1, 30, 50)
