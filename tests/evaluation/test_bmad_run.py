"""One set of BMAD: what is learned from, what is tested, and with which settings."""

from __future__ import annotations

import json
import shutil

import pytest
from pydantic import ValidationError

from anomalabel.config import AnatomyConfig, load_config, parse_settings
from anomalabel.errors import ConfigError
from anomalabel.evaluation.bmad_run import CONFIGS, BmadRun, config_of, run_bmad
from anomalabel.evaluation.datasets.bmad import BMAD_SETS, read_bmad

KEYS = ("brain", "liver", "resc", "oct2017", "chest", "histopathology")
MASKED = ("brain", "liver", "resc")


@pytest.fixture(autouse=True)
def unwritten(monkeypatch) -> None:
    """Reports take long to draw."""
    monkeypatch.setattr("anomalabel.evaluation.evaluate.write_report", lambda content, path: None)


def test_every_set_has_a_config():
    assert tuple(CONFIGS) == KEYS == tuple(known.key for known in BMAD_SETS)
    assert {key: config_of(BmadRun(key=key)).anatomy for key in KEYS} == {
        "brain": "brain",
        "liver": "liver",
        "resc": "retina",
        "oct2017": "retina",
        "chest": "chest",
        "histopathology": "lymph node",
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_set_is_learnt_from_its_training_part_and_tested_on_its_test_part(
    bmad_folder, learners, block_encoders, tmp_path, key
):
    asked = BmadRun(key=key.upper(), saliencies=("clap", "ear"), draws=2, resamples=0, seed=3)
    run_bmad(asked, bmad_folder, tmp_path / "out", encoders=block_encoders)
    found = json.loads((tmp_path / "out" / key / "metrics.json").read_text())
    assert [(name, context.seed) for name, context in learners] == [("clap", 3), ("clap", 4), ("ear", 3), ("ear", 4)]
    for _, context in learners:
        places = {image.source for image in context.healthy}
        assert len(places) == 4
        assert all("/train/good/" in place for place in places)
        assert context.config.name == CONFIGS[key]
    assert list(found["methods"]) == ["reconstruction_clap", "reconstruction_ear"]
    protocol = found["protocol"]
    assert (protocol["set"]["normal"], protocol["set"]["abnormal"]) == (3, 2)
    assert protocol["set"]["with_masks"] == (2 if key in MASKED else 0)
    assert protocol["all_shots"]
    assert not found["failed"]
    assert {test["first"] for test in found["comparisons"]} == {"reconstruction_clap"}


def test_training_lengths_and_the_published_score_reach_the_config():
    plain, shipped = config_of(BmadRun(key="brain")), load_config("brain_mri")
    assert plain == shipped
    changed = config_of(BmadRun(key="brain", epochs=2, samples=50, published=True))
    assert (changed.reconstruction.training.epochs, changed.reconstruction.training.samples) == (2, 50)
    assert (changed.reconstruction.score, changed.reconstruction.healthy_level) == ("max", False)
    errors = changed.reconstruction.errors
    assert (errors.features, errors.cell) == (0, 1)
    assert errors.msgms > 0
    assert parse_settings(AnatomyConfig, changed.model_dump(), "the changed config") == changed
    kept = changed.reconstruction.model_copy(
        update={
            "training": shipped.reconstruction.training,
            "score": shipped.reconstruction.score,
            "healthy_level": shipped.reconstruction.healthy_level,
            "errors": shipped.reconstruction.errors,
        }
    )
    assert shipped.model_copy(update={"reconstruction": kept}) == shipped


def test_pictures_of_ct_are_no_hounsfield_units(bmad_folder, learners, block_encoders, tmp_path):
    run_bmad(
        BmadRun(key="liver", saliencies=("none",), draws=1, resamples=0), bmad_folder, tmp_path, encoders=block_encoders
    )
    ((_, context),) = learners
    image = context.healthy[0].prepared
    seen = image.scaled[image.seen]
    # Grey values 1 to 200 of 255: neither end of the window is reached.
    assert 0.2 < seen.min() < seen.max() < 0.8
    assert load_config("liver_ct").preprocessing.intensity.kind == "ct_window"


def test_all_four_saliencies_unless_some_are_named():
    assert BmadRun(key="brain").saliencies == ("clap", "plp", "ear", "none")
    with pytest.raises(ValidationError, match="saliencies"):
        BmadRun(key="brain", saliencies=("dino",))


def test_an_unknown_set_is_refused(bmad_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no set 'knee'.*histopathology"):
        run_bmad(BmadRun(key="knee"), bmad_folder, tmp_path)


def test_the_validation_part_does_not_stand_in_for_the_training_part(bmad_folder, tmp_path):
    shutil.rmtree(bmad_folder / "Brain" / "train")
    with pytest.raises(ConfigError, match="holds no train/good"):
        run_bmad(BmadRun(key="brain"), bmad_folder, tmp_path)
    assert len(read_bmad(bmad_folder, "brain").healthy) == 1
    with pytest.raises(ConfigError, match="no folder of the set 'liver'"):
        run_bmad(BmadRun(key="liver"), bmad_folder / "Brain", tmp_path)
