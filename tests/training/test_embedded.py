"""The whole training on small pictures: three phases, interrupted and gone on with, to a model that loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from anomalabel.backbones.embedded_model import WEIGHTS_FILE, read_settings
from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.backbones.loading import load_model
from anomalabel.backbones.timm_features import TimmFeatures
from anomalabel.errors import ConfigError
from anomalabel.training import embedded
from anomalabel.training.checkpoint import CHECKPOINT_FILE
from anomalabel.training.embedded import train_embedded
from anomalabel.training.images import BatchPlan, TrainingImages
from anomalabel.training.settings import EmbeddedTraining

SMALL = EmbeddedTraining(
    distil_steps=4,
    text_steps=4,
    align_steps=5,
    batch=3,
    text_batch=12,
    distil_side=64,
    textures=1,
    texture_share=0.0,
    merges=40,
    image=HybridSettings(64, "resnet10t", depth=2, heads=4, embedding=16),
    text_width=64,
    text_layers=1,
)
PHASES = ["distil"] * 4 + ["text"] * 4 + ["align"] * 5


class Interrupted(Exception):
    """Somebody pulled the plug."""


class Witness:
    """Notes what is reported, and pulls the plug after some steps."""

    def __init__(self, until: int | None = None) -> None:
        self.phases: list[str] = []
        self.parts: list[float] = []
        self.losses: list[dict[str, float]] = []
        self._until = until

    def __call__(self, phase: str, part: float, losses: dict[str, float]) -> None:
        self.phases.append(phase)
        self.parts.append(part)
        self.losses.append(losses)
        if len(self.phases) == self._until:
            raise Interrupted


@pytest.fixture(scope="module")
def teacher() -> TimmFeatures:
    torch.manual_seed(3)
    network = TimmFeatures("resnet10t", pretrained=False)
    return network.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every other step."""
    monkeypatch.setattr(embedded, "CHECKPOINT_EVERY", 2)


@pytest.fixture(scope="module")
def trained(
    images: TrainingImages, plan: BatchPlan, teacher: TimmFeatures, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Witness]:
    """A training from start to end."""
    folder, witness = tmp_path_factory.mktemp("trained") / "model", Witness()
    train_embedded(images, folder, SMALL, witness, teacher, plan, "cpu")
    return folder, witness


def test_all_steps_of_all_phases_are_taken_in_order(trained: tuple[Path, Witness]) -> None:
    _, witness = trained
    assert witness.phases == PHASES
    assert witness.parts == pytest.approx([step / 13 for step in range(1, 14)])
    assert set(witness.losses[0]) == {"imitation"}
    assert set(witness.losses[4]) == {"text"}
    expected = {"caption", "one_word", "status", "pair", "patch", "evidence", "simclr", "imitation"}
    assert set(witness.losses[-1]) == expected
    assert all(value == value and abs(value) < 100 for losses in witness.losses for value in losses.values())


def test_the_folder_holds_a_model_that_loads(trained: tuple[Path, Witness]) -> None:
    folder, _ = trained
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "embedded_config.json",
        "embedded_model.safetensors",
        "bpe_merges.txt.gz",
        "vocabulary.json",
        "curves.png",
    }
    with Image.open(folder / "curves.png") as picture:
        assert picture.width == 3 * 5 * 110, "a panel for each phase"
    model = load_model(str(folder), "cpu", "float32")
    assert model.side == 64
    assert model.unknown_words(["a glioma on the left", "xylophone"]) == ("xylophone",)
    vectors = model.encode_texts(["glioma", "healthy"])
    assert torch.isfinite(vectors).all()
    assert vectors[0] @ vectors[1] < 0.999
    image = model.tower.embed_from(model.tower.tokens_after(model.normalise(torch.rand(1, 64, 64)), 1), 1)
    assert torch.isfinite(image).all()


def test_patch_features_have_as_many_channels_as_the_teachers(trained: tuple[Path, Witness]) -> None:
    assert read_settings(trained[0]).image.feature_channels == (128, 256)


def test_each_phase_changes_what_it_should(
    images: TrainingImages, plan: BatchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stem stays as it is in the last phase, the text tower too; the rest goes on learning."""
    monkeypatch.setattr(embedded, "CHECKPOINT_EVERY", 1)
    settings = replace(SMALL, text_steps=1, align_steps=2)
    with pytest.raises(Interrupted):
        train_embedded(images, tmp_path, settings, Witness(until=1), None, plan, "cpu")
    before = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["modules"]["model"]
    train_embedded(images, tmp_path, settings, Witness(), None, plan, "cpu")
    after = load_file(tmp_path / WEIGHTS_FILE)
    changed = {name for name in after if not torch.equal(after[name], before[name].to(after[name].dtype))}
    assert not {name for name in changed if name.startswith(("text.", "visual.trunk.conv1", "visual.trunk.layer1"))}
    assert not {name for name in changed if "running" in name}, "statistics are those of all pictures"
    for part in (
        "visual.trunk.layer2",
        "visual.trunk.layer3",
        "visual.blocks.1",
        "visual.pooling",
        "visual.projection",
    ):
        assert any(name.startswith(part) for name in changed), part


@pytest.mark.parametrize(("until", "first"), [(1, 0), (5, 4), (7, 6), (11, 10)])
def test_an_interrupted_training_goes_on_where_it_was(
    images: TrainingImages, plan: BatchPlan, teacher: TimmFeatures, tmp_path: Path, until: int, first: int
) -> None:
    with pytest.raises(Interrupted):
        train_embedded(images, tmp_path, SMALL, Witness(until), teacher, plan, "cpu")
    assert not (tmp_path / WEIGHTS_FILE).exists(), "nothing half-trained"
    witness = Witness()
    train_embedded(images, tmp_path, SMALL, witness, teacher, plan, "cpu")
    assert witness.phases == PHASES[first:], "the steps since the last checkpoint again, none before it"
    assert witness.parts == pytest.approx([(step + 1) / 13 for step in range(first, 13)])
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 3 * 5 * 110, "what was done before is drawn, too"
    assert load_model(str(tmp_path), "cpu").encode_texts(["glioma"]).isfinite().all()


def test_it_goes_on_with_the_weights_and_the_momentum_it_had(
    images: TrainingImages, plan: BatchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SMALL, text_steps=4, align_steps=0)
    with pytest.raises(Interrupted):
        train_embedded(images, tmp_path, settings, Witness(until=2), None, plan, "cpu")
    saved = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["modules"]
    seen: list[dict[str, Tensor]] = []
    take = embedded._take_step

    def listen(phase, optimiser, device):
        if not seen:
            seen.append({name: value.clone() for name, value in phase.learning.state_dict().items()})
            seen.append(optimiser.state_dict()["state"][0]["exp_avg"].clone())
        return take(phase, optimiser, device)

    monkeypatch.setattr(embedded, "_take_step", listen)
    train_embedded(images, tmp_path, settings, Witness(), None, plan, "cpu")
    weights, momentum = seen
    assert weights.keys()
    assert all(torch.equal(value, saved["model"][f"text.{name}"]) for name, value in weights.items())
    assert torch.equal(momentum, saved["optimiser"]["state"][0]["exp_avg"])


def test_one_seed_one_model(images: TrainingImages, plan: BatchPlan, tmp_path: Path) -> None:
    settings = replace(SMALL, text_steps=1, align_steps=2)
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        train_embedded(images, tmp_path / str(number), replace(settings, seed=seed), Witness(), None, plan, "cpu")
        weights.append((tmp_path / str(number) / WEIGHTS_FILE).read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_other_settings_do_not_go_on(images: TrainingImages, plan: BatchPlan, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train_embedded(images, tmp_path, SMALL, Witness(until=3), None, plan, "cpu")
    with pytest.raises(ConfigError, match="other settings"):
        train_embedded(images, tmp_path, replace(SMALL, text_rate=0.5), Witness(), None, plan, "cpu")


def test_nor_does_a_training_whose_teacher_came_or_went(
    images: TrainingImages, plan: BatchPlan, teacher: TimmFeatures, tmp_path: Path
) -> None:
    for number, (first, then) in enumerate([(teacher, None), (None, teacher)]):
        folder = tmp_path / str(number)
        with pytest.raises(Interrupted):
            train_embedded(images, folder, SMALL, Witness(until=3), first, plan, "cpu")
        with pytest.raises(ConfigError, match="images or teacher"):
            train_embedded(images, folder, SMALL, Witness(), then, plan, "cpu")


def test_what_the_last_phase_lacks_is_told_before_the_first_step(
    images: TrainingImages, plan: BatchPlan, teacher: TimmFeatures, tmp_path: Path
) -> None:
    witness = Witness()
    with pytest.raises(ConfigError, match="no training image of chest pneumonia"):
        train_embedded(images.without("chest"), tmp_path, SMALL, witness, teacher, plan, "cpu")
    assert not witness.phases
