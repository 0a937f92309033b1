"""From a folder of healthy pictures to a model folder: what is learned from, what is refused, what stays."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from anomalabel.backbones import load_self_attention
from anomalabel.config import load_config
from anomalabel.detectors import learn_reconstruction as learning
from anomalabel.detectors.registry import texts_of
from anomalabel.errors import Cancelled, ConfigError, ModelError, OutputError
from anomalabel.learning import reconstruction
from anomalabel.learning.healthy_set import list_healthy
from anomalabel.model_folder import folder as folder_file
from anomalabel.model_folder import read_description, read_model_folder, whole_files
from anomalabel.model_folder.lock import training_lock
from anomalabel.reconstruction.stored import from_tensors
from anomalabel.training.curves import draw_curves

STAGES = (
    "hashing images",
    "reading healthy images",
    "looking where to hide",
    "training",
    "judging held-out images",
    "writing the model",
)
CPU = torch.device("cpu")
PERCENTILES = {"preprocessing": {"foreground": {"enabled": False}}}
"""Instead of a window of fixed values: pictures of any bit depth fit it."""


def names(*numbers: int) -> set[str]:
    return {f"{number}.png" for number in numbers}


def tensors_of(folder):
    return read_model_folder(folder)[1]


@pytest.fixture
def bench(reconstruction_bench):
    return reconstruction_bench


@pytest.fixture
def material_of(monkeypatch):
    """Notes what trainings learn from."""
    seen = []
    original = learning.learn_model

    def look(material, *rest):
        seen.append(material)
        return original(material, *rest)

    monkeypatch.setattr(learning, "learn_model", look)
    return seen


def test_a_model_folder_with_all_that_is_known(bench, material_of):
    report = bench.train()
    model, tensors = read_model_folder(bench.model)
    assert report.model == "model"
    assert report.shots_used == len(model.healthy) == 12
    assert set(report.images) == {one.name for one in model.healthy} == names(*range(12))
    assert (report.left_out, report.weights_sha256) == ((), model.weights_sha256)
    config = load_config(bench.config)
    assert (model.method, model.config, model.seed) == ("reconstruction", config, 0)
    assert model.prompts == texts_of("reconstruction", config)
    assert model.prompts.positive == ("glioma tumor",)
    assert (model.encoder, model.backbone.name) == (str(bench.encoder), "knowing")
    assert report.metrics == model.metrics
    assert set(model.metrics) == {"best_epoch", "healthy_error_msgms", "healthy_error_features"}
    assert model.metrics["best_epoch"] in {1, 2}
    assert all(value > 0 for value in model.metrics.values())
    assert report.thresholds == {name: one.rule for name, one in model.thresholds.items()}
    assert "4 held-out healthy images" in report.thresholds["image"]
    fitted, calibration = from_tensors(model, tensors, CPU, lambda images: images)
    assert set(fitted.levels) == {"msgms", "features"}
    assert len(calibration.scores) == 4
    (warning,) = [one for one in report.warnings if "fewer than 50" in one]
    assert warning.startswith("Learned from 12 healthy images")
    assert warning in model.warnings
    # Images as they were drawn, the last third held out, none of them in both parts.
    (material,) = material_of
    assert (*material.learnt.names, *material.held_out.names) == report.images
    assert len(material.held_out.names) == 4


def test_the_folder_holds_curves_and_nothing_unfinished(bench, monkeypatch):
    monkeypatch.setattr(reconstruction, "draw_curves", draw_curves)
    bench.train()
    assert {path.name for path in bench.model.iterdir()} == {
        "weights.safetensors",
        "model.json",
        "curves.png",
        ".training.lock",
    }
    with Image.open(bench.model / "curves.png") as curves:
        # A panel for the losses of what is learned from, one for the held-out images.
        assert curves.width == 2 * 550


def test_the_same_again_is_the_same_bit_for_bit(bench, tmp_path):
    for out, seed in (("first", 0), ("again", 0), ("other", 1)):
        bench.train(out=tmp_path / out, seed=seed)
        shutil.rmtree(tmp_path / "cache")
    first, again, other = (tensors_of(tmp_path / out) for out in ("first", "again", "other"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    held_out = [read_description(tmp_path / out).healthy[-4:] for out in ("first", "other")]
    assert held_out[0] != held_out[1]


def test_what_is_asked_for_counts(bench):
    bench.train(epochs=1, samples=5, saliency="plp", seed=7)
    model = read_description(bench.model)
    chosen = model.config.reconstruction
    assert (chosen.training.epochs, chosen.training.samples, chosen.saliency, model.seed) == (1, 5, "plp", 7)
    own = load_config(bench.config)
    training = chosen.training.model_copy(update={"epochs": 2, "samples": 16})
    restored = chosen.model_copy(update={"training": training, "saliency": "clap"})
    assert model.config.model_copy(update={"reconstruction": restored}) == own


@pytest.mark.parametrize(("saliency", "texts"), [("none", 0), ("ear", 0), ("plp", 1), ("clap", 1)])
def test_a_model_knows_its_saliency(bench, monkeypatch, saliency, texts):
    monkeypatch.setattr(load_self_attention, "find_timm_weights", lambda network: None)
    bench.train(saliency=saliency)
    model = read_description(bench.model)
    assert (len(model.prompts.positive), len(model.prompts.negative)) == (texts, texts)
    own = load_config(bench.config).reconstruction.self_attention
    # Of EAR the network that was really taken.
    assert model.config.reconstruction.self_attention == ("knowing" if saliency == "ear" else own)


def test_progress_passes_every_stage_in_order(bench):
    told = []
    bench.train(watch=lambda stage, done, total: told.append((stage, done, total)))
    assert tuple(dict.fromkeys(stage for stage, _, _ in told)) == STAGES
    assert all(0 <= done <= total for _, done, total in told)
    for stage, total in (("reading healthy images", 12), ("looking where to hide", 12), ("training", 4)):
        assert {every for one, _, every in told if one == stage} == {total}
    # Two epochs of two steps, judged at the end of each.
    assert [done for stage, done, _ in told if stage == "training"] == sorted(
        done for stage, done, _ in told if stage == "training"
    )


def test_cancelling_in_any_stage_leaves_the_old_model(bench):
    bench.train()
    before = {path.name: path.read_bytes() for path in bench.model.iterdir() if path.is_file()}
    for stage in STAGES:

        def watch(told, done, total, stage=stage):
            if told == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            bench.train(seed=1, watch=watch)
        assert {path.name: path.read_bytes() for path in bench.model.iterdir() if path.is_file()} == before
        assert len(bench.checkpoints) == (stage in {"judging held-out images", "writing the model"})


def test_cancelling_the_first_training_before_its_first_epoch_leaves_nothing(bench):
    for stage in STAGES[:4]:

        def watch(told, done, total, stage=stage):
            if told == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            bench.train(watch=watch)
        assert not bench.model.exists()


@pytest.mark.parametrize("step", [2, 3])
def test_a_cancelled_training_goes_on_as_if_nothing_had_happened(bench, tmp_path, step):
    """At the end of the first epoch's steps nothing is kept yet; within the second, the first is."""

    def watch(told, done, total):
        if (told, done) == ("training", step):
            raise Cancelled

    with pytest.raises(Cancelled):
        bench.train(watch=watch)
    assert len(bench.checkpoints) == (step == 3)
    heard = []
    bench.train(watch=lambda *told: heard.append(told))
    assert next(done for stage, done, _ in heard if stage == "training") == (2 if step == 3 else 0)
    assert not bench.checkpoints
    bench.train(out=tmp_path / "whole")
    resumed, whole = tensors_of(bench.model), tensors_of(tmp_path / "whole")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert read_description(bench.model).metrics == read_description(tmp_path / "whole").metrics


def test_a_training_of_other_images_does_not_go_on_from_a_checkpoint(bench, tmp_path):
    def watch(told, done, total):
        if (told, done) == ("training", 3):
            raise Cancelled

    with pytest.raises(Cancelled):
        bench.train(watch=watch)
    bench.draw(bench.healthy / "12.png", 12)
    bench.train()
    assert not bench.checkpoints
    bench.train(out=tmp_path / "other")
    found, expected = tensors_of(bench.model), tensors_of(tmp_path / "other")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_two_trainings_at_once_are_refused(bench):
    bench.train()
    before = (bench.model / "weights.safetensors").read_bytes()
    told = []
    with training_lock(bench.model), pytest.raises(OutputError, match="Another training is at work"):
        bench.train(seed=1, watch=lambda *one: told.append(one))
    assert told == []
    assert (bench.model / "weights.safetensors").read_bytes() == before
    bench.train(seed=1)
    assert (bench.model / "weights.safetensors").read_bytes() != before


def full(path, content):
    path.write_bytes(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_at_the_end_costs_the_writing_alone(bench, monkeypatch):
    bench.train()
    old = read_description(bench.model).weights_sha256
    with monkeypatch.context() as patch:
        patch.setattr(folder_file, "write_synced", full)
        with pytest.raises(OutputError, match="the disk or its quota is full"):
            bench.train(seed=1)
    assert read_description(bench.model).weights_sha256 == old
    assert not list(bench.model.glob(".writing*"))
    heard = []
    bench.train(seed=1, watch=lambda *told: heard.append(told))
    # Nothing is learned again.
    assert [done for stage, done, _ in heard if stage == "training"] == [4]
    assert read_description(bench.model).weights_sha256 != old
    assert read_description(bench.model / "previous").weights_sha256 == old
    assert not (bench.model / "unfinished").exists()


def test_a_full_disk_at_a_checkpoint_leaves_the_old_model(bench, monkeypatch):
    bench.train()
    old = read_description(bench.model).weights_sha256
    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "write_synced", full)
        with pytest.raises(OutputError, match="the disk or its quota is full"):
            bench.train(seed=1)
    assert read_description(bench.model).weights_sha256 == old
    assert not bench.checkpoints


def test_too_little_space_is_said_before_anything_is_read(bench, monkeypatch):
    told = []
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match="full"):
        bench.train(watch=lambda *one: told.append(one))
    assert told == []


def test_the_folder_of_somebody_else_is_not_touched(bench):
    from safetensors.torch import save_file

    bench.model.mkdir()
    save_file({"x": torch.zeros(1)}, bench.model / "weights.safetensors")
    before = (bench.model / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match="was not written by AnomaLabel"):
        bench.train()
    assert (bench.model / "weights.safetensors").read_bytes() == before


def test_what_cannot_be_learned_from_is_left_out_and_named(bench):
    Image.fromarray(np.full((32, 32), 90, dtype=np.uint8)).save(bench.healthy / "constant.png")
    (bench.healthy / "torn.png").write_bytes((bench.healthy / "1.png").read_bytes()[:60])
    shutil.copy(bench.healthy / "2.png", bench.healthy / "again.png")
    rows, columns = np.mgrid[:32, :32] // 4
    Image.fromarray((255 * ((rows + columns) % 2)).astype(np.uint8)).save(bench.healthy / "board.png")
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[4:9, 4:9] = 255
    Image.fromarray(mask).save(bench.healthy / "5_mask.png")
    bench.draw(bench.healthy / "large.png", 90, side=100)
    report = bench.train(abnormal=frozenset({"3", "7.png"}))
    assert set(report.images) == names(0, 1, 2, 4, 6, 8, 9, 10, 11)
    reasons = {one.image: one.reason for one in report.left_out}
    assert set(reasons) == {
        "constant.png",
        "torn.png",
        "again.png",
        "large.png",
        "board.png",
        "3.png",
        "5.png",
        "7.png",
    }
    assert "is constant: every voxel is 90" in reasons["constant.png"]
    assert reasons["again.png"] == "it is the same image as 2.png"
    assert "100 x 100 pixels, the others about 32 x 32" in reasons["large.png"]
    assert "times as far from the others as is usual" in reasons["board.png"]
    assert reasons["5.png"] == "its mask 5_mask.png marks disease"
    assert reasons["3.png"] == reasons["7.png"] == "it is named as abnormal"
    assert {one.name for one in read_description(bench.model).healthy} == set(report.images)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_images_are_refused_before_one_is_read(bench, count):
    told = []
    healthy = [bench.healthy / f"{number}.png" for number in range(count)]
    with pytest.raises(ConfigError, match=f"needs 8 healthy images, {count} came"):
        bench.train(healthy, lambda *one: told.append(one))
    assert told == []
    assert not bench.model.exists()


def test_too_few_usable_images_say_which_are_not_and_why(bench):
    for number in (9, 10, 11):
        (bench.healthy / f"{number}.png").unlink()
    Image.fromarray(np.full((32, 32), 90, dtype=np.uint8)).save(bench.healthy / "constant.png")
    with pytest.raises(
        ConfigError,
        match=r"^7 healthy images can be learned from, and at least 8 are needed\. Left out: "
        r"(?=.*3\.png: it is named as abnormal)(?=.*4\.png: it is named as abnormal)"
        r"(?=.*constant\.png: .* is constant)",
    ):
        bench.train(abnormal=frozenset({"3", "4"}))
    # Enough of them until an odd one is left out.
    bench.draw(bench.healthy / "large.png", 90, side=100)
    with pytest.raises(ConfigError, match=r"^7 healthy images.*large\.png: it has 100 x 100 pixels"):
        bench.train(abnormal=frozenset({"3", "4"}))


def test_fifty_images_are_enough(bench):
    for number in range(12, 60):
        bench.draw(bench.healthy / f"{number}.png", number)
    report = bench.train(saliency="none", epochs=1, samples=4)
    assert report.shots_used >= 50
    assert not any("fewer than 50" in warning for warning in report.warnings)


def test_sizes_bit_depths_and_formats_may_be_mixed(bench, tmp_path):
    bench.configure(PERCENTILES)
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, shape in enumerate([(32, 32), (36, 40), (40, 36), (57, 60), (36, 32), (32, 32), (33, 33)]):
        Image.fromarray(waves(number, shape, 200).astype(np.uint8)).save(folder / f"{number}.png")
    for number in (7, 8):
        Image.fromarray(waves(number, (36, 36), 60_000).astype(np.uint16)).save(folder / f"{number}.png")
    Image.fromarray(np.stack([waves(9, (34, 34), 200).astype(np.uint8)] * 3, axis=-1)).save(folder / "9.jpg")
    write_dicom(folder / "dicom" / "10.dcm", waves(10, (44, 40), 4000).astype(np.uint16))
    report = bench.train(list_healthy(folder))
    assert report.left_out == ()
    assert len(report.images) == 11
    assert {*names(*range(9)), "9.jpg"} < set(report.images)


def test_bit_depth_makes_no_difference(bench, material_of):
    """The same picture in 8 and in 16 bits is the same slice."""
    bench.configure(PERCENTILES)
    shallow = np.asarray(Image.open(bench.healthy / "0.png"))
    bench.train()
    Image.fromarray(shallow.astype(np.uint16) * 257).save(bench.healthy / "0.png")
    bench.train()
    slices = []
    for material in material_of:
        parts = (material.learnt, material.held_out)
        slices += [
            image for part in parts for name, image in zip(part.names, part.images, strict=True) if name == "0.png"
        ]
    assert len(slices) == 2
    torch.testing.assert_close(slices[0], slices[1], atol=1e-3, rtol=0)


def test_volumes_are_told_apart_whole_and_judged_on_all_slices(bench, material_of, tmp_path):
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number in range(8):
        slices = [waves(10 * number + place, (32, 32), 200) for place in range(4 + number % 2)]
        volume = nibabel.Nifti1Image(np.stack(slices, axis=2).astype(np.int16), np.diag([1, 1, 4, 1]))
        nibabel.save(volume, folder / f"{number}.nii.gz")
    bench.configure(slices_a_volume=3)
    report = bench.train(sorted(folder.iterdir()))
    assert report.shots_used == 8
    (material,) = material_of
    learnt, held_out = set(material.learnt.names), set(material.held_out.names)
    assert not learnt & held_out
    assert learnt | held_out == {f"{number}.nii.gz" for number in range(8)}
    assert Counter(material.learnt.names) == dict.fromkeys(learnt, 3)
    assert Counter(material.held_out.names) == {name: 4 + int(name[0]) % 2 for name in held_out}


def test_saliency_is_computed_once(bench, monkeypatch):
    from anomalabel.attention.text_saliency import TextSaliency

    asked = []
    original = TextSaliency.patch_features

    def count(self, images):
        asked.append(len(images))
        return original(self, images)

    monkeypatch.setattr(TextSaliency, "patch_features", count)
    bench.train()
    # Twelve pictures, for and against.
    assert sum(asked) == 24
    bench.configure(channels=[5, 5, 5, 5, 5, 5])
    bench.train(epochs=1)
    assert sum(asked) == 24
    # The bottleneck's noise hangs on the seed.
    bench.train(seed=1)
    assert sum(asked) == 48


def test_an_encoder_that_is_not_there(bench):
    with pytest.raises(ModelError, match="There is no model"):
        bench.train(encoder="/nowhere")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"seed": -1}, "seed"), ({"epochs": 0}, "epochs"), ({"samples": 0}, "samples"), ({"saliency": "cam"}, "saliency")],
)
def test_a_request_out_of_range(bench, values, message):
    with pytest.raises(ValueError, match=message):
        bench.train(**values)


def waves(seed: int, shape: tuple[int, int], highest: float) -> np.ndarray:
    """Grey waves with a little noise, from 1 up to `highest`."""
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, length) for length in shape), indexing="ij")
    across, down = generator.uniform(5, 7, 2)
    pattern = 0.55 + 0.3 * np.sin(columns * across) * np.cos(rows * down)
    return np.clip(highest * (pattern + generator.normal(0, 0.03, shape)), 1, highest)


def write_dicom(path, pixels: np.ndarray) -> None:
    """A file of one MR slice."""
    path.parent.mkdir()
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.MRImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MR", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.8], 5
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.save_as(path, write_like_original=False)
