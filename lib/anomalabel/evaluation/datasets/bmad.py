"""The folder layout of BMAD (Bao et al., CVPR Workshops 2024): six sets of five anatomies.

A set lies in one folder:

    SET/train/good                 healthy images to learn from
    SET/valid/{good,Ungood}        not used: it holds disease, and nothing here is tuned on disease
    SET/test/{good,Ungood}         tested

Images lie in `img` below these, or right there in the sets without masks. Masks of Ungood images carry the image's name
and lie in `label` (`anomaly_mask` in the copies that few-shot papers share). Those copies have no `train`; the healthy
images then come from `valid/good`.

Patients are read from file names, so far as these tell them:

- brain (BraTS 2021): `00003_60.png` is slice 60 of subject 00003, with the same numbers in all parts.
- liver: `4_487.png` is slice 487 of scan 4; `train` numbers the scans of BTCV, the other parts those of LiTS.
- RESC: `9_28.png` is slice 28 of eye 9; `train` numbers the eyes of RESC's training part, the others those of its
  validation part.
- OCT2017: `NORMAL-5171640-1.jpeg` is image 1 of patient 5171640.
- chest (RSNA): `Normal-ff8d7572-1183-....png` ends in RSNA's patient identifier.
- histopathology (Camelyon16): names are running numbers; patients are unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.datasets.folders import require_apart
from anomalabel.io.listing import image_stem, list_images

IMAGES = "img"
MASKS = ("label", "anomaly_mask")
TRAIN = "train"


@dataclass(frozen=True)
class BmadSet:
    """One of the six sets.

    Args:
        key: what a user calls it.
        title: shown in reports.
        folder: matches the names under which it is shared.
        patient: matches a file's stem, its group is the patient; None where names don't tell.
        train_apart: numbers of `train` and of the other parts belong to different people.
    """

    key: str
    title: str
    folder: re.Pattern[str]
    patient: re.Pattern[str] | None
    train_apart: bool = False


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


SLICE_OF_SCAN = re.compile(r"(\d+)_\d+")
BMAD_SETS = (
    BmadSet("brain", "BMAD brain MRI (BraTS 2021)", _named("brain|brats"), SLICE_OF_SCAN),
    BmadSet("liver", "BMAD liver CT (BTCV, LiTS)", _named("liver"), SLICE_OF_SCAN, train_apart=True),
    BmadSet("resc", "BMAD retinal OCT (RESC)", _named("resc"), SLICE_OF_SCAN, train_apart=True),
    BmadSet("oct2017", "BMAD retinal OCT (OCT2017)", _named("oct_?2017"), re.compile(r"[A-Za-z]+-(\d+)-\d+")),
    BmadSet("chest", "BMAD chest X-ray (RSNA)", _named("chest|rsna"), re.compile(r".+[-_](\w{8}(?:-\w{4}){3}-\w{12})")),
    BmadSet("histopathology", "BMAD histopathology (Camelyon16)", _named("histo|camelyon"), None),
)


def bmad_set_named(key: str) -> BmadSet:
    """The set that a user calls by its key.

    Raises:
        ConfigError: there is none.
    """
    for known in BMAD_SETS:
        if known.key == key.lower():
            return known
    keys = ", ".join(known.key for known in BMAD_SETS)
    raise ConfigError(f"BMAD has no set '{key}'.", f"Name one of {keys}.")


def read_bmad(folder: Path, name: str | None = None, need_train: bool = False) -> EvaluationSet:
    """One set of BMAD.

    Args:
        folder: of the set, or of several sets.
        name: key of a set (brain, liver, resc, oct2017, chest, histopathology) or the name of its folder; needed where
            `folder` holds several.
        need_train: `valid/good` does not stand in where there is no `train`.

    Returns:
        The test images, and as healthy ones those of `train/good` (`valid/good` where there is no `train`).

    Raises:
        ConfigError: no such folder or set, several sets and none named, a part is missing or empty, or a set with masks
            lacks one.
        ImageReadError: a file or folder may not be read.
    """
    place = _set_folder(folder, name)
    known = next((one for one in BMAD_SETS if one.folder.search(place.name)), None)
    healthy_part = TRAIN if need_train or _child(place, TRAIN) else "valid"
    tested = [*_cases(place, known, "test", "good"), *_cases(place, known, "test", "Ungood")]
    healthy = _cases(place, known, healthy_part, "good")
    require_apart([*tested, *healthy])
    return EvaluationSet(known.title if known else f"BMAD {place.name}", tuple(tested), tuple(healthy))


def _set_folder(folder: Path, name: str | None) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"The folder {folder} does not exist.", "Give the folder of a BMAD set, or of all of them.")
    places = (
        [folder] if _child(folder, "test") else [child for child in sorted(folder.iterdir()) if _child(child, "test")]
    )
    if name is not None:
        known = next((one for one in BMAD_SETS if one.key == name.lower()), None)
        places = [place for place in places if (known.folder.search(place.name) if known else place.name == name)]
    if len(places) == 1:
        return places[0]
    keys = ", ".join(one.key for one in BMAD_SETS)
    if not places:
        wanted = f"the set '{name}'" if name else "a BMAD set, a folder with test/good and test/Ungood"
        raise ConfigError(f"{folder} holds no folder of {wanted}.", f"Check the path; the sets are {keys}.")
    listed = ", ".join(place.name for place in places)
    raise ConfigError(
        f"{folder} holds {len(places)} BMAD sets: {listed}.", f"Name one, as in bmad:PATH:SET, of {keys}."
    )


def _cases(place: Path, known: BmadSet | None, part: str, label: str) -> list[EvaluationCase]:
    part_folder = _child(place, part)
    label_folder = _child(part_folder, label) if part_folder else None
    if label_folder is None:
        raise ConfigError(
            f"{place} holds no {part}/{label}.", "Give a folder in BMAD's layout, unpacked as it is shared."
        )
    folder = _child(label_folder, IMAGES) or label_folder
    abnormal = label != "good"
    masks = _masks(label_folder) if abnormal else {}
    cases = []
    for listed in list_images(folder):
        image = listed.image
        if folder == label_folder and image.parent.name in MASKS:
            continue
        if masks and image_stem(image) not in masks:
            raise ConfigError(f"{image} has no mask, others of its folder do.", "Unpack the set again.")
        identity = image.relative_to(place).as_posix()
        patient = _patient(known, part, image)
        cases.append(EvaluationCase(identity, image, abnormal, masks.get(image_stem(image)), patient=patient))
    return cases


def _masks(label_folder: Path) -> dict[str, Path]:
    folder = next((found for name in MASKS if (found := _child(label_folder, name))), None)
    files = [] if folder is None else [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return {image_stem(path): path for path in files}


def _patient(known: BmadSet | None, part: str, image: Path) -> str | None:
    match = known.patient.fullmatch(image_stem(image)) if known and known.patient else None
    if known is None or match is None:
        return None
    return f"{TRAIN} {match[1]}" if known.train_apart and part == TRAIN else match[1]


def _child(folder: Path, name: str) -> Path | None:
    """The folder of that name, in whatever case it is written; file systems differ in whether case counts."""
    if not folder.is_dir():
        return None
    return next(
        (child for child in sorted(folder.iterdir()) if child.name.lower() == name.lower() and child.is_dir()), None
    )
