"""Published numbers beside measured ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomalabel.config import load_config
from anomalabel.errors import ConfigError
from anomalabel.evaluation.bmad_results import read_results
from anomalabel.evaluation.bmad_run import CONFIGS
from anomalabel.evaluation.bmad_table import as_markdown, as_text, compare_with_published
from anomalabel.evaluation.datasets.bmad import BMAD_SETS
from anomalabel.evaluation.published import COLUMNS, PUBLISHED

TITLES = {known.key: known.title for known in BMAD_SETS}


def write_result(folder: Path, key: str, aurocs: dict[str, tuple[float | None, float | None]], **changes) -> Path:
    """A metrics.json of the set `key`, with what the table reads of it and a little more."""
    methods = {
        f"reconstruction_{name}": {
            "image_auroc": {"mean": mean, "std": std, "ci95": None, "draws": [mean]},
            "description": changes.get("descriptions", {}).get(name, ""),
        }
        for name, (mean, std) in aurocs.items()
    }
    config = load_config(CONFIGS[key]).model_dump(mode="json")
    config["reconstruction"] |= changes.get("reconstruction", {})
    protocol = {
        "set": {"name": changes.get("name", TITLES[key]), "normal": 3},
        "model": changes.get("model", "biomedclip"),
        "shots": [changes.get("shots", 900)],
        "all_shots": changes.get("all_shots", True),
        "draws": [{"draw": 0}],
        "config": config,
        "seed": 0,
    }
    failed = [{"identity": "a.png", "reason": "torn"}] * changes.get("failed", 0)
    document = {"schema": "anomalabel.metrics/1", "methods": methods, "protocol": protocol, "failed": failed}
    path = folder / key / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return path


def table(*folders: Path):
    return compare_with_published(read_results(folders))


def rows_of(comparison) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in comparison.rows}


def test_published_numbers_are_those_of_the_paper():
    assert list(COLUMNS) == [known.key for known in BMAD_SETS]
    plp, clap = PUBLISHED[1:]
    for row in (plp, clap):
        assert sum(row.auroc.values()) / 6 == pytest.approx(row.average, abs=0.0051)
    ear = PUBLISHED[0]
    assert sum(ear.auroc.values()) / 6 == pytest.approx(78.14)
    assert ear.average == 78.21
    assert (ear.auroc["oct2017"], ear.auroc["chest"], clap.auroc["histopathology"]) == (97.46, 71.69, 68.42)


def test_a_measured_row_stands_below_its_published_one(tmp_path):
    write_result(tmp_path, "resc", {"clap": (0.91234, 0.0125), "none": (0.5, None)})
    write_result(tmp_path, "chest", {"clap": (0.7, None), "ear": (None, None)})
    comparison = table(tmp_path)
    assert comparison.head == (
        "Method",
        "BraTS2021",
        "BTCV+LiTs",
        "RESC",
        "OCT2017",
        "RSNA chest",
        "CAMELYON16",
        "Average",
    )
    assert [row[0] for row in comparison.rows] == [
        "EAR, published",
        "EAR, measured",
        "PLP, published",
        "PLP, measured",
        "CLAP, published",
        "CLAP, measured",
        "no mask, measured",
    ]
    rows = rows_of(comparison)
    assert rows["CLAP, published"] == ("78.55", "72.60", "91.66", "96.38", "65.76", "68.42", "78.89")
    assert rows["CLAP, measured"] == ("-", "-", "91.23 ± 1.25", "-", "70.00", "-", "-")
    assert rows["EAR, measured"] == ("-",) * 7
    assert rows["PLP, measured"] == ("-",) * 7
    assert rows["no mask, measured"] == ("-", "-", "50.00", "-", "-", "-", "-")


def test_an_average_needs_all_six_sets(tmp_path):
    for number, key in enumerate(COLUMNS):
        measured = {"clap": (0.6 + number / 50, 0.01)}
        if key != "liver":
            measured["plp"] = (0.5, 0.01)
        write_result(tmp_path, key, measured)
    rows = rows_of(table(tmp_path))
    assert rows["CLAP, measured"][-1] == "65.00"
    assert rows["PLP, measured"][-1] == "-"


def test_folders_may_be_of_one_set_or_of_several(tmp_path):
    write_result(tmp_path / "a", "brain", {"clap": (0.6, None)})
    write_result(tmp_path / "b", "liver", {"clap": (0.7, None)})
    write_result(tmp_path / "b", "resc", {"clap": (0.8, None)})
    rows = rows_of(table(tmp_path / "a" / "brain", tmp_path / "b"))
    assert rows["CLAP, measured"][:4] == ("60.00", "70.00", "80.00", "-")
    assert rows_of(table(tmp_path / "b", tmp_path / "b" / "resc"))["CLAP, measured"][1:3] == ("70.00", "80.00")


def test_differences_of_network_and_settings_are_said(tmp_path):
    stood_in = {"ear": "EAR: embedded (no weights of timm:vit_small_patch16_224.dino at hand)."}
    measured = {"clap": (0.6, None), "ear": (0.5, None)}
    with_features = {"score": "top", "healthy_level": True, "errors": {"msgms": 1, "features": 1, "cell": 4}}
    for key, failed in (("brain", 2), ("liver", 0)):
        write_result(
            tmp_path,
            key,
            measured,
            model="embedded",
            descriptions=stood_in,
            failed=failed,
            reconstruction=with_features,
        )
    published = {"score": "max", "healthy_level": False, "errors": {"msgms": 1, "features": 0, "cell": 1}}
    dino = {"ear": "EAR: timm vit_small_patch16_224.dino"}
    write_result(tmp_path, "resc", measured, descriptions=dino, reconstruction=published)
    short = {**published, "training": {"epochs": 2, "samples": 50}}
    write_result(tmp_path, "chest", measured, descriptions=dino, reconstruction=short, all_shots=False, shots=16)
    notes = table(tmp_path).notes
    text = "\n".join(notes)
    assert (
        "PLP and CLAP differ in the encoder: published with BiomedCLIP, measured with embedded (brain, liver)." in notes
    )
    assert (
        "EAR differs in the encoder: published with DINO; measured: EAR: embedded (no weights of "
        "timm:vit_small_patch16_224.dino at hand) (brain, liver)."
    ) in notes
    assert (
        "Measured otherwise than published: 2 epochs of 50 samples, not 20 of 3000; 16 healthy images, not all of the "
        "training part (chest)."
    ) in notes
    assert "the score is the mean of the top 1% of the error map, not its maximum" in text
    assert "the encoder's features are compared too; errors are means over squares of 4 pixels" in text
    assert "resc" not in text
    assert "2 images could not be evaluated (brain)." in notes


def test_what_is_measured_as_published_needs_no_excuse(tmp_path):
    dino = {"ear": "EAR: timm vit_small_patch16_224.dino"}
    published = {"score": "max", "healthy_level": False, "errors": {"msgms": 1, "features": 0, "cell": 1}}
    write_result(
        tmp_path, "resc", {"clap": (0.9, None), "ear": (0.8, None)}, descriptions=dino, reconstruction=published
    )
    notes = table(tmp_path).notes
    assert len(notes) == 2
    assert "Table 2" in notes[0]
    assert "0.07 above" in notes[0]


def test_text_is_aligned_and_markdown_is_a_table(tmp_path):
    write_result(tmp_path, "resc", {"clap": (0.9, 0.01)})
    comparison = table(tmp_path)
    lines = as_text(comparison).splitlines()
    body = [line for line in lines[: lines.index("")] if not line.startswith("-")]
    assert {len(line) for line in body} == {len(lines[1])}
    assert set(lines[1]) == {"-"}
    end = body[0].index("RESC") + len("RESC")
    assert all(line[:end].rstrip() == line[:end] for line in body)
    assert lines[-1] == comparison.notes[-1]
    markdown = as_markdown(comparison).splitlines()
    assert markdown[1] == "| :-- | --: | --: | --: | --: | --: | --: | --: |"
    assert markdown[2] == "| EAR, published | 77.37 | 72.51 | 86.42 | 97.46 | 71.69 | 63.39 | 78.21 |"
    assert markdown[-1] == f"- {comparison.notes[-1]}"


def test_other_methods_follow(tmp_path):
    path = write_result(tmp_path, "brain", {"clap": (0.9, None)})
    document = json.loads(path.read_text())
    document["methods"]["normal_bank"] = {"image_auroc": {"mean": 0.75, "std": None}}
    path.write_text(json.dumps(document))
    assert rows_of(table(tmp_path))["normal_bank, measured"][0] == "75.00"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no metrics.json"),
        ("{}", "schema: Field required"),
        ("not json", "holds no results of anomalabel.metrics/1"),
    ],
)
def test_folders_without_results_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_results([tmp_path])


def test_results_of_other_sets_and_twice_the_same_are_refused(tmp_path):
    first = write_result(tmp_path / "a", "brain", {"clap": (0.9, None)})
    second = write_result(tmp_path / "b", "brain", {"clap": (0.8, None)})
    with pytest.raises(ConfigError, match="are of the same set"):
        read_results([first.parent, second.parent])
    write_result(tmp_path / "c", "liver", {"clap": (0.8, None)}, name="normal against abnormal")
    with pytest.raises(ConfigError, match="is of normal against abnormal, none of BMAD's sets"):
        read_results([tmp_path / "c"])
