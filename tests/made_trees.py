"""VOC and COCO as folders of few drawn scenes, for tests of what reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from PIL import Image

from resnet_cli.tasks.detection import coco, scenes, voc

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from resnet_cli.tasks.detection.objects import Objects
    from resnet_cli.tasks.detection.scenes import Scenes

COUNT = 6  # scenes of each list
SEED = 23  # its second list has a crowd, a difficult object, and an image without objects
GAP = 7  # between COCO's ids of images
CATEGORIES = [number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]


def drawn(key: int) -> Scenes:
    """The scenes of a list, one of each seed."""
    return scenes.draw_many(COUNT, SEED + key, scenes.TEST_KEY)


def write_voc(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOCdevkit of all lists, as VOC's archives have them; each of COUNT scenes, in turn. Returns its folder."""
    monkeypatch.setattr(voc, "IMAGES", dict.fromkeys(voc.IMAGES, COUNT))
    for key, (year, part) in enumerate(voc.IMAGES):
        folder = root / voc.FOLDER / f"VOC{year}"
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        names = [f"{key + 1:03}{number:03}" for number in range(COUNT)]
        (folder / f"ImageSets/Main/{part}.txt").write_text("\n".join(names) + "\n")
        pictures = drawn(key)
        for number, name in enumerate(names):
            image = Image.fromarray(pictures.image(number).permute(1, 2, 0).numpy())
            image.save(folder / f"JPEGImages/{name}.jpg", quality=95)
            (folder / f"Annotations/{name}.xml").write_text(annotation(pictures.objects(number), *image.size))
    return root / voc.FOLDER


def annotation(marked: Objects, width: int, height: int) -> str:
    """VOC's annotation of an image, with what it has beside and we do not read."""
    objects = "".join(
        f"<object><name>{voc.CLASSES[label - 1]}</name><pose>Left</pose><difficult>{int(difficult)}</difficult>"
        f"<bndbox><xmax>{box[2]:g}</xmax><xmin>{box[0] + 1:g}</xmin><ymin>{box[1] + 1:g}</ymin><ymax>{box[3]:g}</ymax>"
        "</bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "</object>\n"
        for box, label, difficult in zip(marked.boxes, marked.labels, marked.difficult, strict=True)
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC2007</folder>{size}<segmented>0</segmented>\n{objects}</annotation>\n"


def write_coco(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """COCO of all lists; each of COUNT scenes. Returns its folder."""
    monkeypatch.setattr(coco, "IMAGES", dict.fromkeys(coco.IMAGES, COUNT))
    folder = root / coco.FOLDER
    (folder / "annotations").mkdir(parents=True)
    for key, part in enumerate(coco.IMAGES):
        place = "val2014" if "mini" in part else part
        (folder / place).mkdir(exist_ok=True)
        pictures = drawn(key)
        images, annotations = [], []
        for number in reversed(range(COUNT)):
            image = Image.fromarray(pictures.image(number).permute(1, 2, 0).numpy())
            its = 1000 * (key + 1) + GAP * number
            name = f"{its:012}.jpg" if "2017" in part else f"COCO_{place}_{its:012}.jpg"
            image.save(folder / place / name, quality=95)
            images.append({"id": its, "file_name": name, "width": image.width, "height": image.height})
            annotations += coco_annotations(pictures.objects(number), its)
        for number, each in enumerate(annotations):
            each["id"] = 900_000 - number
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": each, "name": f"thing {each}"} for each in reversed(CATEGORIES)],
        }
        (folder / f"annotations/instances_{part}.json").write_text(json.dumps(content))
    return folder


def coco_annotations(marked: Objects, image: int) -> list[dict[str, object]]:
    """COCO's annotations of an image: labels 1 to 5 are the categories 10 to 15, of which there is no 12."""
    return [
        {
            "image_id": image,
            "category_id": CATEGORIES[8 + label],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": area,
            "iscrowd": int(crowd),
            "segmentation": [],
        }
        for box, label, area, crowd in zip(
            marked.boxes.tolist(), marked.labels.tolist(), marked.areas.tolist(), marked.crowd.tolist(), strict=True
        )
    ]
