"""The app as MONAI Label's own `start_server` loads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from monailabel.interfaces.utils.app import app_instance

import monailabel_app


@pytest.fixture
def app(studies: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("monailabel_app.app.build_pipeline", lambda configuration: pipeline)
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
