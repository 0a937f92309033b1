"""A model through the tensors of a folder: bit for bit the same, or refused."""

from __future__ import annotations

import pytest
import torch

from anomalabel.config import ReconstructionSettings, load_config
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.model_folder import HealthyImage, TrainedModel, read_model_folder, write_model_folder
from anomalabel.reconstruction.network import build_unet
from anomalabel.reconstruction.stored import from_tensors, to_tensors

CALIBRATION = Calibration(Threshold(value=1.5, rule="image"), Threshold(value=2.5, rule="pixel"), (0.5, 1.25, 1 / 3))
CPU = torch.device("cpu")
BOTH = {"healthy_level": True, "errors": {"msgms": 1.0, "features": 2.0, "cell": 8}}


def described(settings: ReconstructionSettings, method: str = "reconstruction") -> TrainedModel:
    return TrainedModel(
        method=method,
        config=load_config("brain_mri").model_copy(update={"reconstruction": settings}),
        backbone=ModelIdentity(name="drawn", weights_sha256="4" * 64),
        prompts=PromptTexts(positive=("glioma",), negative=("healthy",)),
        healthy=(HealthyImage(name="one.png", sha256="6" * 64),) * 8,
        seed=0,
        thresholds=CALIBRATION.thresholds,
    )


def encode(images: torch.Tensor) -> torch.Tensor:
    """Two features that an image and its restoration differ in."""
    return torch.nn.functional.avg_pool2d(torch.cat([images, (images - 0.5).abs()], dim=1), 8)


@pytest.fixture
def trained(settings, with_levels):
    def make(**values):
        torch.manual_seed(3)
        chosen = settings(**values)
        return with_levels(chosen, build_unet(chosen.channels).eval(), encode if chosen.errors.features else None)

    return make


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"healthy_level": True},
        BOTH,
        BOTH | {"errors": {"msgms": 0.0, "features": 1.0, "cell": 8}},
        BOTH | {"mosaic": {"blocks": (8, 32)}, "channels": (2, 3, 4, 5, 6, 7)},
        {"saliency": "none", "errors": {"features": 0.0, "cell": 1}},
    ],
)
def test_every_map_and_threshold_comes_back_bit_for_bit(trained, batch, tmp_path, values):
    model = trained(**values)
    write_model_folder(tmp_path / "model", described(model.settings), to_tensors(model, CALIBRATION))
    again, calibration = from_tensors(*read_model_folder(tmp_path / "model"), CPU, model.encode)
    assert calibration == CALIBRATION
    assert (again.settings, again.weights_sha256) == (model.settings, model.weights_sha256)
    assert set(again.levels) == set(model.levels)
    here, there = model.restore(batch), again.restore(batch)
    assert torch.equal(there.images, here.images)
    assert float(here.images.max()) > float(here.images.min())
    assert torch.equal(again.map_of(there.errors), model.map_of(here.errors))
    assert not again.network.training
    assert not any(parameter.requires_grad for parameter in again.network.parameters())


def test_another_method_is_refused(trained):
    model = trained()
    with pytest.raises(
        ModelError, match=r"trained by the method few_shot, not by reconstruction\. Give the folder of a"
    ):
        from_tensors(described(model.settings, "few_shot"), to_tensors(model, CALIBRATION), CPU, None)


@pytest.mark.parametrize("missing", ["level.msgms.mean", "level.features.deviation", "network.", "healthy_scores"])
def test_a_missing_tensor_is_named(trained, missing):
    model = trained(**BOTH)
    tensors = to_tensors(model, CALIBRATION)
    name = next(one for one in tensors if one.startswith(missing))
    del tensors[name]
    with pytest.raises(ModelError, match=r"do not fit its description: .*Train it again") as raised:
        from_tensors(described(model.settings), tensors, CPU, encode)
    assert name.removeprefix("network.") in str(raised.value)


def test_a_tensor_too_many_is_refused(trained):
    model = trained()
    tensors = to_tensors(model, CALIBRATION) | {"network.more": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"do not fit its description: .*more"):
        from_tensors(described(model.settings), tensors, CPU, None)


@pytest.mark.parametrize("name", ["mean", "deviation"])
def test_a_level_of_another_size_is_refused(trained, name):
    model = trained(healthy_level=True)
    tensors = to_tensors(model, CALIBRATION) | {f"level.msgms.{name}": torch.ones(16, 8)}
    with pytest.raises(ModelError, match=rf"level\.msgms\.{name} has shape \(16, 8\) and should have \(8, 8\)"):
        from_tensors(described(model.settings), tensors, CPU, None)


@pytest.mark.parametrize("values", [{"channels": (5,) * 6}, BOTH, {"healthy_level": True, "side": 128}])
def test_settings_that_fit_other_tensors_are_refused(trained, settings, values):
    tensors = to_tensors(trained(healthy_level=True), CALIBRATION)
    with pytest.raises(ModelError, match=r"do not fit its description: \S.*Train it again\.") as raised:
        from_tensors(described(settings(**{"healthy_level": True} | values)), tensors, CPU, encode)
    assert len(raised.value.cause) < 300


@pytest.mark.parametrize("kept", ["image", "pixel"])
def test_both_thresholds_are_required(trained, kept):
    model = trained()
    bare = described(model.settings).model_copy(update={"thresholds": {kept: CALIBRATION.thresholds[kept]}})
    other = ({"image", "pixel"} - {kept}).pop()
    with pytest.raises(ModelError, match=f"do not fit its description: '{other}'"):
        from_tensors(bare, to_tensors(model, CALIBRATION), CPU, None)
