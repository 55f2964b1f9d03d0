"""Where a file comes from is read back from it; and nothing in any file names a patient or a folder."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.told import provenance_in
from napari_ifkd.cli import main
from napari_ifkd.config import Config
from napari_ifkd.errors import ExportError
from napari_ifkd.events import MapReady
from napari_ifkd.export import FORMATS, export_run
from napari_ifkd.runs.acts import predict_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = [name for name in FORMATS if name != "dicom-seg"]
CANARY = "Zylinderhut"  # in whatever must not get out
COLOUR = (11, 222, 133)  # of the label and macro images


@pytest.fixture
def run(tmp_path: Path, tiny_slide: Path, write_map: Callable[..., None]) -> RunFolder:
    made = RunFolder.create(tmp_path / "run", "distill", Config().replaced(seed=11), {"slides": [str(tiny_slide)]})
    path = made.map_path(2, tiny_slide.name)
    with open_slide(tiny_slide) as slide:
        write_map(path, slide)
        corrections = Corrections.create(made.corrections_path(slide.name), slide, 1.0)
        corrections.paint(0, 0, np.full((100, 100), 2, np.uint8))
    made.append(MapReady(2, tiny_slide.name, path.relative_to(made.path).as_posix()))
    return made


def asked(capsys: Any, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_every_file_tells_where_it_comes_from(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    written = export_run(run.path, ALL, tmp_path / "out", round=2, threshold=0.4, sigma_px=1.5)
    for path in written:
        told = provenance_in(path)
        assert told is not None, path.name
        assert {"name", "size_bytes", "quick_hash", "mpp"} <= set(told["slide"]), path.name
        assert (told["round"], told["threshold"], told["sigma_px"], told["seed"]) == (2, 0.4, 1.5, 11), path.name
        assert told["config"]["seed"] == 11
        assert told["corrections"] == {"tumour_mm2": 0.01, "normal_mm2": 0.0, "tumour_in_mask_mm2": 0.01}
        assert {"python", "numpy", "torch"} <= set(told["versions"])
        assert told["time"] > "2020"
        assert "mpp" in told
        status, said, _ = asked(capsys, "info", str(path), "--json")
        assert status == 0
        assert json.loads(said)["threshold"] == 0.4
    for path in written[:-1]:  # and without the sidecar, all that have it inside
        alone = tmp_path / "alone" / path.name
        alone.parent.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, alone)
        assert (provenance_in(alone) is None) == path.name.endswith(".csv"), path.name


def test_a_map_tells_too(run: RunFolder, tiny_slide: Path) -> None:
    told = provenance_in(run.map_path(2, tiny_slide.name))
    assert told is not None
    assert told["slide"]["name"] == tiny_slide.name


def test_what_tells_nothing(tmp_path: Path, tiny_slide: Path, capsys: Any) -> None:
    for name, content in {"a.geojson": b"{}", "b.png": b"\x89PNG", "c.xml": b"<a/>", "d.csv": b"1", "e.geojson.gz": b"no"}.items():
        (tmp_path / name).write_bytes(content)
        assert provenance_in(tmp_path / name) is None
        status, _, said = asked(capsys, "info", str(tmp_path / name))
        assert status == 2
        assert "is no slide" in said
    assert provenance_in(tiny_slide) is None
    status, said, _ = asked(capsys, "info", str(tiny_slide), "--json")
    assert status == 0
    assert json.loads(said)["name"] == tiny_slide.name
    with pytest.raises(ExportError, match="does not exist"):
        provenance_in(tmp_path / "none.png")


def confidential(path: Path) -> Path:
    """Write a slide as scanners do: names in its description, label and macro as further pages."""
    rng = np.random.default_rng(3)
    image = rng.integers(120, 240, (768, 1024, 3), np.uint8)
    said = (
        f"Aperio Image Library v11.2.1\n1024x768 (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5|Patient = {CANARY}1|Barcode = {CANARY}2"
        f"|Title = {CANARY}3|User = {CANARY}4|Filename = /home/{CANARY}5/x"
    )
    picture = np.full((200, 300, 3), COLOUR, np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(image, tile=(256, 256), photometric="rgb", description=said, metadata=None)
        file.write(image[::4, ::4], photometric="rgb", description="Aperio\n1024x768 -> 256x192 - ", metadata=None)
        file.write(picture, photometric="rgb", description=f"Aperio\nlabel 300x200 {CANARY}6", subfiletype=1, metadata=None)
        file.write(picture, photometric="rgb", description=f"Aperio\nmacro 300x200 {CANARY}7", subfiletype=9, metadata=None)
    return path


def contents(path: Path) -> bytes:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return b"".join(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files)


def test_nothing_confidential_gets_out(tmp_path: Path) -> None:
    folder = tmp_path / f"{CANARY}8"
    folder.mkdir()
    slide = confidential(folder / "case.svs")
    with open_slide(slide) as opened:
        assert opened.associated_names  # label and macro are there to be found
    run = folder / "run"
    list(predict_run([slide], "phantom-teacher", run, Config()))
    written = export_run(run, ALL, tmp_path / "out", threshold=0.0, slides=[slide])
    assert len(written) == sum(len(FORMATS[name].files) for name in ALL) + 1
    told = provenance_in(written[0])
    assert told is not None
    assert len(told["model"]["weights_sha256"]) == 64
    for path in written:
        assert len(contents(path)) > 20
        assert CANARY.encode() not in contents(path), path.name
        assert str(tmp_path).encode() not in contents(path), path.name
    kept = [path for path in run.rglob("*") if path.is_file()]
    assert {"run.yaml", "journal.jsonl", "zarr.json"} <= {path.name for path in kept}
    for path in kept:  # of the whole run only what it needs to go on knows a folder
        assert path.name == "run.yaml" or CANARY.encode() not in path.read_bytes(), path
        for number in range(1, 8):
            assert f"{CANARY}{number}".encode() not in path.read_bytes(), path
    picture = tifffile.imread(next(path for path in written if path.name.endswith(".ome.tif")))
    assert picture.max() == 1
    from PIL import Image

    with Image.open(next(path for path in written if path.suffix == ".png")) as shown:
        assert not (np.abs(np.asarray(shown.convert("RGB")).astype(int) - COLOUR).max(-1) < 6).any()


def test_a_dicom_segmentation_names_nobody(shared_data: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    pytest.importorskip("highdicom")
    import pydicom

    folder = tmp_path / "slide.dcm.d"
    folder.mkdir()
    personal = {
        "PatientName": "PN", "PatientID": "LO", "OtherPatientIDs": "LO", "PatientComments": "LT", "AccessionNumber": "SH",
        "ReferringPhysicianName": "PN", "StudyDescription": "LO", "StudyID": "SH", "InstitutionName": "LO", "OperatorsName": "PN",
        "ContainerIdentifier": "LO", "BarcodeValue": "LT", "LabelText": "UT", "AdmittingDiagnosesDescription": "LO",
    }  # fmt: skip
    for file in sorted((shared_data / "slides" / "CMU-1-Small-Region.dcm.d").iterdir()):
        header = pydicom.dcmread(file)
        for keyword in personal:
            setattr(header, keyword, CANARY)
        for specimen in header.SpecimenDescriptionSequence:
            specimen.SpecimenIdentifier = specimen.SpecimenShortDescription = CANARY
        header.PatientBirthDate, header.StudyDate = "19010203", "19010203"
        header.save_as(folder / file.name)
    with open_slide(folder) as slide:
        write_map(tmp_path / "map.zarr", slide)
    written = export_run(tmp_path / "map.zarr", [*ALL, "dicom-seg"], tmp_path / "out", sigma_px=0, slides=[folder])
    for path in written:
        data = contents(path)
        assert CANARY.encode() not in data, path.name
        assert b"19010203" not in data, path.name
    list(predict_run([folder], "phantom-teacher", tmp_path / "run", Config()))
    kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert "journal.jsonl" in {path.name for path in kept}
    for path in kept:
        assert CANARY.encode() not in path.read_bytes(), path
        assert b"19010203" not in path.read_bytes(), path
    (seg,) = (path for path in written if path.is_dir() and path.name.endswith(".dcm.d"))
    source, made = (pydicom.dcmread(next(iter(sorted(each.iterdir()))), stop_before_pixels=True) for each in (folder, seg))
    for uid in ("StudyInstanceUID", "FrameOfReferenceUID"):  # it still belongs to its slide
        assert made[uid].value == source[uid].value
