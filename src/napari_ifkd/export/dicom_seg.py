"""A mask as a DICOM segmentation of a DICOM slide, made by highdicom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd import __version__
from napari_ifkd.annotations.masks import centres
from napari_ifkd.errors import ExportError
from napari_ifkd.slides.dicom import volume_headers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .mask import FinishedMask

_MOST_PX = 2**30  # of a level: highdicom holds it in memory
_COARSEST = 1024  # px
_OF_PIXELS = (0x0028, 0x0048, 0x5200)  # groups
_KEPT = {
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "Modality",
    "VolumetricProperties",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "InstanceNumber",
    "DimensionOrganizationSequence",
    "DimensionOrganizationType",
    "ContainerTypeCodeSequence",
    "SpecimenDescriptionSequence",
}
_EMPTY = (  # that must be there
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


def write_dicom_seg(path: Path, mask: FinishedMask) -> None:
    """Write one instance of a binary segmentation for each level of the slide that is not much finer than the map.

    It belongs to the slide by the UIDs of study and frame of reference. What names patient, physician, specimen or container is left empty.

    Parameters
    ----------
    path : an empty folder
    mask : its `dicom` names the slide

    Raises
    ------
    ExportError
        If the slide is no DICOM, or another one.
    """
    if mask.dicom is None:
        raise ExportError("dicom-seg", "needs the slide as DICOM", "Open the folder of its instances, or give it by --slide")
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept

    levels = [_nameless(header) for _, header in volume_headers(mask.dicom)]
    _check(levels[0], mask)
    chosen = [level for level in levels if 1.5 * _columns(level) <= 3 * mask.store.shape[1] and _size(level) <= _MOST_PX] or levels[-1:]
    neoplasm = CodedConcept("108369006", "SCT", "Neoplasm")
    algorithm = hd.AlgorithmIdentificationSequence(
        name=str(mask.source.model.get("name") or "napari-ifkd")[:64],
        family=CodedConcept("123109", "DCM", "Manual Processing")
        if not mask.source.model
        else CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=__version__,
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=label,
            segment_label=mask.name_of(label)[:64],
            segmented_property_category=CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
            segmented_property_type=neoplasm,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for label in mask.kinds
    ]
    arrays = [_on_level(mask, level) for level in chosen]
    while len(chosen) == 1 and (len(arrays) == 1 or max(arrays[-1].shape) > _COARSEST):  # a slide of one level still gets a pyramid
        arrays.append(arrays[-1][::2, ::2])
    made = hd.seg.create_segmentation_pyramid(
        source_images=chosen,
        pixel_arrays=arrays,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=None,
        series_number=100,
        manufacturer="The napari-ifkd contributors",
        manufacturer_model_name="napari-ifkd",
        software_versions=__version__,
        device_serial_number="1",
        series_description=f"{mask.name_of(min(mask.kinds))} at {mask.facts.get('threshold', '')}"[:64],
    )
    for number, each in enumerate(made):
        mask.check(number, len(made))
        each.save_as(path / f"{number}.dcm")


def _nameless(header: Any) -> Any:
    """Keep of a header what tells of its pixels and whose they are by UID: what it says of persons and labels highdicom would copy."""
    for element in list(header):
        if element.tag.group not in _OF_PIXELS and element.keyword not in _KEPT:
            del header[element.tag]
    for keyword in _EMPTY:
        setattr(header, keyword, "")
    header.ContainerIdentifier, header.IssuerOfTheContainerIdentifierSequence = "slide", []  # the first must say something
    for specimen in header.get("SpecimenDescriptionSequence", ()):
        uid = specimen.SpecimenUID
        specimen.clear()
        specimen.SpecimenUID, specimen.SpecimenIdentifier = uid, "specimen"
        specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    return header


def _check(finest: Any, mask: FinishedMask) -> None:
    """Refuse the mask of another slide: its level-0 pixels must be those of the DICOM."""
    told = mask.source.slide.get("shape_level0")
    shape = [int(finest.TotalPixelMatrixRows), _columns(finest)]
    if told is not None and any(abs(a - b) > 0.002 * max(a, b) for a, b in zip(told, shape, strict=True)):
        said = f"{told[1]} x {told[0]} px against {shape[1]} x {shape[0]} px"
        raise ExportError(
            "dicom-seg", f"the DICOM slide is another one than the map's ({said})", "Give the DICOM of the slide that was predicted"
        )


def _columns(level: Any) -> int:
    return int(level.TotalPixelMatrixColumns)


def _size(level: Any) -> int:
    return int(level.TotalPixelMatrixRows) * _columns(level)


def _on_level(mask: FinishedMask, level: Any) -> NDArray[np.uint8]:
    """Return the labels on the grid of a level, by the px at the centres."""
    shape = int(level.TotalPixelMatrixRows), _columns(level)
    step_y, step_x = (own / new for own, new in zip(mask.store.shape, shape, strict=True))
    columns = centres(0, shape[1], step_x)
    labels = np.zeros(shape, np.uint8)
    for y in range(0, shape[0], 512):
        rows = centres(y, min(512, shape[0] - y), step_y)
        labels[y : y + len(rows)] = np.asarray(mask.store.levels[0][rows[0] : rows[-1] + 1])[np.ix_(rows - rows[0], columns)]
    return labels
