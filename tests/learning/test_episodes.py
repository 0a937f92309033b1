"""From healthy sets to a start that few-shot training adapts from, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.errors import Cancelled, ConfigError
from anomalabel.learning.episodes import EpisodesTraining, train_episodes
from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.model_folder import read_model_folder
from anomalabel.training.episodes import EpisodicTraining
from anomalabel.training.learned_start import load_start, save_start

BRIEF = EpisodicTraining(steps=2, tasks=1, inner_steps=1)


def untold(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def encoders(tiny_clip_folder) -> NamedEncoders:
    return NamedEncoders(str(tiny_clip_folder), "cpu", "float32")


@pytest.fixture
def config(few_shot_config, tmp_path):
    """Path of a config that adapts in two steps; arguments: its name, its anatomy and keys of `few_shot`."""

    def make(name: str = "tissue", anatomy: str = "brain", **few_shot: object) -> str:
        path = tmp_path / f"{name}.yaml"
        own = few_shot_config(**{"episodes": {"steps": 2}, **few_shot})
        own = own.model_copy(update={"name": name, "anatomy": anatomy})
        path.write_text(own.model_dump_json())
        return str(path)

    return make


@pytest.fixture
def pictures(tissue, tmp_path):
    """Paths of eight pictures of tissue, other ones for each first seed."""

    def make(first: int, count: int = 8) -> list[Path]:
        paths = [tmp_path / f"{first + number}.png" for number in range(count)]
        for number, path in enumerate(paths):
            pixels = np.round(255 * tissue(first + number).prepared.scaled[0]).astype(np.uint8)
            Image.fromarray(pixels).save(path)
        return paths

    return make


@pytest.fixture
def learn(encoders):
    def run(sets, watch=untold, training=BRIEF, **request):
        asked = EpisodesTraining(shots=4, training=training, **request)
        return train_episodes(asked, sets, encoders, watch, FeatureStore())

    return run


def test_a_start_that_leads_further_than_none_and_that_few_shot_training_takes(
    learn, config, pictures, encoders, tmp_path
):
    sets = [(config(), pictures(0)), (config("organ", "chest"), pictures(20))]
    stages: dict[str, int] = {}
    training = EpisodicTraining(steps=40, tasks=2, inner_steps=1, outer_rate=0.01)
    trained = learn(sets, lambda stage, done, total: stages.update({stage: done}), training)
    origin = trained.start.origin
    assert {name: len(images) for name, images in origin.sets.items()} == {"tissue": 4, "organ": 4}
    names = [{image.name for image in images} for images in origin.sets.values()]
    assert names[0] <= {f"{number}.png" for number in range(8)}
    assert names[1] <= {f"{number}.png" for number in range(20, 28)}
    found = origin.metrics
    assert (found["held_out_tasks"], found["adaptation_steps"]) == (24, 2)
    assert found["start_loss_after"] < 0.9 * found["scratch_loss_after"]
    assert found["scratch_loss_after"] < found["scratch_loss_before"]
    assert (stages["learning the start"], stages["judging the start"]) == (40, 24)
    assert {"reading tissue", "encoding views of organ"} <= set(stages)
    assert any("never saw the words" in warning and warning.startswith("organ: ") for warning in trained.warnings)

    save_start(tmp_path / "start.safetensors", trained.start)
    with_start = config(episodes={"path": str(tmp_path / "start.safetensors"), "steps": 4})
    report = train_few_shot(
        FewShotTraining(config=with_start, shots=4, backbone=encoders.name),
        pictures(40),
        tmp_path / "model",
        encoders,
        untold,
        store=FeatureStore(),
    )
    assert report.shots_used == 4
    _, tensors = read_model_folder(tmp_path / "model")
    learned = {name: value for name, value in tensors.items() if name.endswith("adapters.0.weight")}
    assert len(learned) == 2
    for value in learned.values():
        from_start = float((value - trained.start.parameters["adapters.0.weight"]).norm())
        assert 0 < from_start < 0.5 * float(value.norm()), "a few steps away from the start, no further"


def test_the_start_comes_back_from_its_file_with_all_that_is_known_of_it(learn, config, pictures, encoders, tmp_path):
    trained = learn([(config(), pictures(0))], seed=3)
    save_start(tmp_path / "start.safetensors", trained.start)
    shape = HeadShape((32, 32, 16), 2, 16, adapters=True, queries=0, heads=4)
    identity = encoders.patch_encoder().identity
    read = load_start(tmp_path / "start.safetensors", identity.weights_sha256, repr(shape), FewShotHead(shape))
    assert read.origin == trained.start.origin
    assert (read.origin.seed, read.origin.encoder, read.training) == (3, encoders.name, BRIEF)
    torch.testing.assert_close(read.parameters, trained.start.parameters, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_start(learn, config, pictures):
    sets = [(config(), pictures(0))]
    first, again, other = (learn(sets, seed=seed).start.parameters for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["adapters.0.weight"], other["adapters.0.weight"])


def test_cancelling_ends_the_work(learn, config, pictures):
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("learning the start", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        learn([(config(), pictures(0))], stop)


def test_sets_that_cannot_be_learned_from_together(learn, config, pictures):
    images = pictures(0)
    with pytest.raises(ConfigError, match="The config tissue was given twice"):
        learn([(config(), images), (config(), pictures(20))])
    with pytest.raises(ConfigError, match=r"\d\.png is among the images of tissue and of organ"):
        learn([(config(), images), (config("organ"), images)])
    refined = config("organ", refinement={"enabled": True, "queries": 3, "heads": 2})
    with pytest.raises(ConfigError, match="The heads of tissue and organ differ: queries 0 and 3; heads 4 and 2"):
        learn([(config(), images), (refined, pictures(20))])


def test_one_set_that_cannot_be_learned_from(learn, config, pictures):
    with pytest.raises(ConfigError, match=r"tissue: 0 healthy images .* Give 6 healthy images of one kind, 4 to learn"):
        learn([(config(), [])])
    with pytest.raises(ConfigError, match="tissue: 5 healthy images"):
        learn([(config(), pictures(0, 5))])
    with pytest.raises(ConfigError, match="head of the config tissue has nothing to learn"):
        learn([(config(alignment=False), pictures(0))])
    with pytest.raises(ConfigError, match="no config 'unheard_of'"):
        learn([("unheard_of", pictures(0))])
    with pytest.raises(ConfigError, match="No healthy set"):
        learn([])
