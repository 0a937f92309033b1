"""The app as MONAI Label's own `start_server` loads it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from monailabel.interfaces.utils.app import app_instance

import monailabel_app
from monailabel_app.reviews.event import Review


@pytest.fixture
def app(
    studies: Path, pipeline: Any, training: Any, reconstruction_training: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setattr("monailabel_app.app.build_pipeline", lambda configuration: pipeline)
    monkeypatch.setattr("monailabel_app.trainers.few_shot_localization.train_few_shot", training)
    monkeypatch.setattr("monailabel_app.trainers.unet_reconstruction.train_reconstruction", reconstruction_training)
    folder = Path(monailabel_app.__file__).parent
    return app_instance(str(folder), str(studies), {"backbones": "embedded, biomedclip"})


def test_it_is_found_and_describes_itself(app: Any) -> None:
    info = app.info()
    assert info["models"]["clap_attention"]["config"]["backbone"] == ["embedded", "biomedclip"]
    assert info["anomalabel"]["backbones"] == ["embedded", "biomedclip"]
    assert json.dumps(info)


def test_it_returns_a_file_that_monailabel_may_delete(app: Any, studies: Path, pipeline: Any) -> None:
    result = app.infer({"model": "clap_attention", "image": "head", "seed": 3, "client_id": "x"})
    assert pipeline.sources == [studies / "head.nii.gz"]
    assert pipeline.requests[0].seed == 3
    assert studies not in Path(result["file"]).parents
    assert result["params"]["schema"] == "anomalabel.findings/1"
    Path(result["file"]).unlink()
    Path(result["file"]).parent.rmdir()


def test_bad_parameters_are_an_http_error_with_the_reason(app: Any) -> None:
    with pytest.raises(HTTPException, match="sharpness") as refused:
        app.infer({"model": "clap_attention", "image": "head", "sharpness": 3})
    assert refused.value.status_code == 422


def test_it_trains_in_the_process_that_monailabel_starts_for_it(app: Any, training: Any) -> None:
    app.reviews.add("head", Review(reviewer="A", action="case_normal"))
    # The stock plugin sends its whole table, combo boxes as lists with the choice first.
    table = {"config": ["liver_ct", "brain_mri"], "backbone": ["biomedclip", "embedded"], "shots": 2, "healthy": ""}
    report = app.train({"model": "few_shot_localization", "gpus": "all", **table})
    assert report["shots_used"] == 1
    assert list(report["images"]) == ["head.nii.gz"]
    assert training.calls[0]["encoders"] == "encoders of biomedclip"
    assert app.info()["models"]["few_shot_localization"]["config"]["trained"] == ["liver_ct"]


def test_it_trains_the_second_method_with_the_empty_rows_of_the_table(app: Any, reconstruction_training: Any) -> None:
    app.reviews.add("head", Review(reviewer="A", action="case_normal"))
    table = app.info()["trainers"]["unet_reconstruction"]["config"]
    assert table["saliency"] == ["", "none", "ear", "plp", "clap"]
    app.train({"model": "unet_reconstruction", "gpus": "all", **table, "samples": "16"})
    (call,) = reconstruction_training.calls
    asked = call["request"]
    assert (asked.config, asked.saliency, asked.epochs, asked.samples, asked.seed) == ("brain_mri", None, None, 16, 0)
    assert app.info()["models"]["unet_reconstruction"]["config"]["trained"] == ["brain_mri"]
    assert app.info()["models"]["few_shot_localization"]["config"]["trained"] == []


@pytest.mark.parametrize(
    ("task", "wanted"),
    [("few_shot_localization", ("uncertainty",)), ("unet_reconstruction", ("saliency", "reconstruction"))],
)
@pytest.mark.usefixtures("models", "reconstruction_models")
def test_its_reply_has_no_place_for_a_second_file(app: Any, task: str, wanted: tuple[str, ...]) -> None:
    result = app.infer({"model": task, "image": "head", **dict.fromkeys(wanted, True)})
    assert [entry.name for entry in Path(result["file"]).parent.iterdir()] == ["heatmap.nrrd"]
    assert result["params"]["config"] == "brain_mri"
    shutil.rmtree(Path(result["file"]).parent)
