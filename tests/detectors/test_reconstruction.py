"""Where an image differs from its restoration, on its own grid: with a network that restores the healthy image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anomalabel.config import AnatomyConfig, ForegroundSettings, PreprocessingSettings, ReconstructionSettings
from anomalabel.detectors.base import PreparedImage, no_progress
from anomalabel.detectors.reconstruction import ReconstructionDetector, cuts_of
from anomalabel.errors import Cancelled, ConfigError, ImageReadError, ModelError
from anomalabel.finding import ModelIdentity, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.patch_features import CutSlice, FeatureStore, cut_slice
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, slice_positions
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.model import ReconstructionModel
from anomalabel.reconstruction.saliency import SaliencySources
from anomalabel.volume import Volume

SIDE, CELL = 64, 2
CALIBRATION = Calibration(Threshold(value=1.5, rule="image"), Threshold(value=0.3, rule="pixel"), (0.5, 1.0))
IDENTITY = ModelIdentity(name="U-Net", weights_sha256="7" * 64)


class Healthy(nn.Module):
    """Restores every image to the healthy ones it knows, and notes what it is shown."""

    def __init__(self, *known: np.ndarray) -> None:
        super().__init__()
        self.known = nn.Parameter(torch.from_numpy(np.stack(known))[:, None], requires_grad=False)
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images)
        # Of which the border tells most: lesions lie inside.
        distances = [(images - one).abs().flatten(1).median(dim=1).values for one in self.known]
        return self.known[torch.stack(distances).argmin(0)]


class Brightness:
    """A saliency: means of 4 x 4 pixel patches of a 32-pixel square; counts the slices it is asked about."""

    side = 32
    level_weights = (1.0,)
    text_level = None
    identity = ModelIdentity(name="brightness", weights_sha256="3" * 64)

    def __init__(self) -> None:
        self.asked = 0

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        self.asked += len(images)
        return (torch.nn.functional.avg_pool2d(images[:, None], 4),)


def config_of(foreground: bool, planes: str = "acquisition", **values: object) -> AnatomyConfig:
    usual = {
        "side": SIDE,
        "channels": (4,) * 6,
        "mosaic": {"blocks": (8,)},
        "similarity": {"scales": 2},
        "errors": {"features": 0.0, "cell": CELL},
        "healthy_level": False,
        "score": "max",
        "batch_size": 2,
    }
    return AnatomyConfig.model_validate(
        {
            "name": "made_up",
            "title": "Made up",
            "anatomy": "brain",
            "modality": "MRI",
            "prompts": {"positive": ["glioma"], "negative": ["healthy"]},
            "slices": {"planes": planes},
            "preprocessing": PreprocessingSettings(foreground=ForegroundSettings(enabled=foreground)),
            "reconstruction": ReconstructionSettings.model_validate(usual | values),
        }
    )


@dataclass(frozen=True)
class Scene:
    """A healthy image, the same with a lesion, and where that is.

    Args:
        healthy, sick: prepared alike.
        lesion: (Z, Y, X) bool.
    """

    config: AnatomyConfig
    affine: np.ndarray
    healthy: PreparedVolume
    sick: PreparedVolume
    lesion: np.ndarray
    positions: tuple[SlicePosition, ...]

    def framed(self, number: int) -> np.ndarray:
        """A healthy slice in the network's input."""
        return self.cut(number).framed(SIDE, self.config.preprocessing).image

    def cut(self, number: int, sick: bool = False) -> CutSlice:
        return cut_slice(self.sick if sick else self.healthy, self.affine, self.positions[number])

    def detector(
        self, saliency: Sequence[object] = (), network: nn.Module | None = None, **parts
    ) -> ReconstructionDetector:
        """Whose network knows every slice of the healthy image."""
        own = network or Healthy(*(self.framed(number) for number in range(len(self.positions))))
        model = ReconstructionModel(self.config.reconstruction, own, parts.pop("levels", {}), parts.pop("encode", None))
        sources = SaliencySources(tuple(saliency), "made up")
        return ReconstructionDetector(model, sources, CALIBRATION, self.config, IDENTITY, **parts)

    def detect(self, detector: ReconstructionDetector, extra_maps: Sequence[str] = (), sick: bool = True):
        prepared = self.sick if sick else self.healthy
        return detector.detect(prepared, self.affine, self.positions, no_progress, extra_maps)


def volume_scene(planes: str = "acquisition", **values: object) -> Scene:
    """An oblique volume of 5 slices of 40 x 56 voxels of 1.5 x 1 x 5 mm: an ellipse of smooth tissue, one lesion."""
    turn = np.deg2rad(25)
    directions = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([1.0, 1.5, 5.0])
    affine[:3, 3] = (-30, 12, 7)
    z, y, x = np.mgrid[:5, :40, :56]
    body = ((y - 19.5) / 17) ** 2 + ((x - 27.5) / 22) ** 2 < 1
    tissue = np.where(body, 0.5 + 0.2 * np.sin(x / 9) * np.cos(y / 7) + 0.02 * z, 0).astype(np.float32)
    lesion = (np.abs(x - 36) <= 3) & (np.abs(y - 14) <= 2) & (np.abs(z - 3) <= 0)
    config = config_of(True, planes, **values)
    sick = np.where(lesion, tissue + 0.3, tissue).astype(np.float32)
    volume = Volume(tissue, affine, source="made up")
    positions = slice_positions(volume, config.slices.planes, body, 0.02)
    return Scene(config, affine, PreparedVolume(tissue, body), PreparedVolume(sick, body), lesion, positions)


def picture_scene(**values: object) -> Scene:
    """A 48 x 64 picture of 0.4 x 0.2 mm pixels: an ultrasound's sector of speckle in black, one bright lesion."""
    rows, columns = np.mgrid[:48, :64]
    sector = (np.abs(columns - 31.5) <= 0.5 * rows + 6)[None]
    speckle = np.random.default_rng(2).uniform(0.4, 0.7, (1, 48, 64))
    tissue = np.where(sector, speckle, 0).astype(np.float32)
    lesion = ((np.abs(rows - 30) <= 3) & (np.abs(columns - 26) <= 4))[None]
    sick = np.where(lesion, tissue + 0.3, tissue).astype(np.float32)
    whole = np.ones(tissue.shape, dtype=bool)
    affine = np.diag([0.2, 0.4, 1.0, 1.0])
    return Scene(
        config_of(False, **values),
        affine,
        PreparedVolume(tissue, whole),
        PreparedVolume(sick, whole),
        lesion,
        (SlicePosition(0, 0, "image"),),
    )


def near(lesion: np.ndarray, pixels: int) -> np.ndarray:
    """The lesion with this many pixels around it in its slices."""
    grown = np.zeros_like(lesion)
    _, y, x = np.nonzero(lesion)
    grown[:, max(y.min() - pixels, 0) : y.max() + pixels + 1, max(x.min() - pixels, 0) : x.max() + pixels + 1] = True
    return grown & lesion.any(axis=(1, 2), keepdims=True)


def test_a_lesion_lights_up_at_its_place_in_an_oblique_volume():
    scene = volume_scene()
    found = scene.detect(scene.detector([Brightness()]))
    values = found.anomaly_map
    assert (values.shape, values.dtype) == ((5, 40, 56), np.float32)
    np.testing.assert_array_equal(np.isnan(values), ~scene.sick.seen)
    # Edges light up: they are where the gradients differ, with a scale's width around.
    assert np.nanmax(values[~near(scene.lesion, 4)]) < 0.02 * np.nanmax(values)
    where = np.argwhere(values > 0.3 * np.nanmax(values))
    centre = np.argwhere(scene.lesion).mean(axis=0)
    np.testing.assert_allclose(where.mean(axis=0), centre, atol=1)
    assert (np.ptp(where, axis=0) <= np.ptp(np.argwhere(scene.lesion), axis=0) + 5).all()
    assert found.image_score > 0.5
    healthy = scene.detect(scene.detector([Brightness()]), sick=False)
    assert np.nanmax(healthy.anomaly_map) < 1e-5
    assert healthy.image_score < 1e-5


def test_slices_along_all_three_planes_meet_on_the_lesion():
    scene = volume_scene("all")
    assert {position.axis for position in scene.positions} == {0, 1, 2}
    values = scene.detect(scene.detector([Brightness()])).anomaly_map
    np.testing.assert_array_equal(np.isnan(values), ~scene.sick.seen)
    peak = np.unravel_index(np.nanargmax(values), values.shape)
    assert near(scene.lesion, 2)[peak]


def test_a_lesion_lights_up_in_a_picture_and_what_is_beyond_the_sector_is_unseen():
    scene = picture_scene()
    found = scene.detect(scene.detector([Brightness()]))
    values = found.anomaly_map
    unseen = np.isnan(values[0])
    sector = scene.healthy.scaled[0] > 0
    assert (unseen == sector).mean() < 0.03
    assert unseen[0, 0]
    assert np.nanmax(values[~near(scene.lesion, 8)]) < 0.02 * np.nanmax(values)
    where = np.argwhere(values > 0.3 * np.nanmax(values))
    np.testing.assert_allclose(where.mean(axis=0), np.argwhere(scene.lesion).mean(axis=0), atol=1)


def test_what_the_network_is_shown_lacks_the_suspected_region():
    scene = picture_scene()
    detector = scene.detector([Brightness()])
    network = detector._model.network
    scene.detect(detector)
    (shown,) = network.shown
    framed = scene.cut(0, sick=True).framed(SIDE, scene.config.preprocessing).image
    hidden = np.abs(shown[0, 0].numpy() - framed) > 1e-6
    inside = (
        scene.cut(0).framed(SIDE, scene.config.preprocessing).frame.to_model(scene.lesion[0].astype(np.float32)) > 0.9
    )
    # The brightest region holds the bright lesion.
    assert hidden[inside].mean() > 0.95
    assert 0.02 < hidden.mean() < 0.4


def test_without_saliency_the_network_sees_the_whole_image():
    scene = picture_scene(saliency="none")
    detector = scene.detector()
    network = detector._model.network
    found = scene.detect(detector, ["reconstruction"])
    framed = scene.cut(0, sick=True).framed(SIDE, scene.config.preprocessing).image
    np.testing.assert_array_equal(network.shown[0][0, 0], framed)
    assert set(found.extra_maps) == {"reconstruction"}
    assert detector.shows == {"reconstruction"}
    with pytest.raises(ConfigError, match=r"no saliency map: it hides nothing"):
        scene.detect(detector, ["reconstruction", "saliency"])


def test_extra_maps_lie_on_the_source_grid_too():
    scene = volume_scene()
    detector = scene.detector([Brightness()])
    found = scene.detect(detector, ["reconstruction", "saliency"])
    assert detector.shows == {"reconstruction", "saliency"}
    restored, saliency = found.extra_maps["reconstruction"], found.extra_maps["saliency"]
    for values in (restored, saliency):
        assert (values.shape, values.dtype) == ((5, 40, 56), np.float32)
        np.testing.assert_array_equal(np.isnan(values), ~scene.sick.seen)
    # What is restored is the healthy tissue, also where the lesion is; only its border is smoothed by resampling.
    assert np.abs(restored - scene.healthy.scaled)[scene.lesion].max() < 0.02
    assert np.nanmean(np.abs(restored - scene.healthy.scaled)) < 0.02
    assert np.abs(restored - scene.sick.scaled)[scene.lesion].min() > 0.25
    assert 0 <= np.nanmin(saliency) < 0.3
    assert np.nanmax(saliency[3]) == saliency[3][near(scene.lesion, 2)[3]].max()
    one = scene.detect(detector, ["saliency"])
    assert set(one.extra_maps) == {"saliency"}
    np.testing.assert_array_equal(one.extra_maps["saliency"], saliency)
    assert dict(scene.detect(detector).extra_maps) == {}


@pytest.mark.parametrize(("score", "share"), [("max", 0.01), ("top", 0.01), ("top", 0.2)])
def test_the_score_is_that_of_the_highest_slice(score, share):
    scene = volume_scene(score=score, score_share=share)
    found = scene.detect(scene.detector([Brightness()]))
    alone = [
        scene.detector([Brightness()]).detect(scene.sick, scene.affine, [position], no_progress).image_score
        for position in scene.positions
    ]
    assert found.image_score == pytest.approx(max(alone), rel=1e-5)
    assert scene.positions[int(np.argmax(alone))].index == 3
    # By hand, from the network's input: cells of 2 x 2 pixels, of which anything is body.
    framed = scene.cut(3, sick=True).framed(SIDE, scene.config.preprocessing)
    pair = [torch.from_numpy(image)[None, None] for image in (framed.image, scene.framed(3))]
    errors = msgms_map(*pair, scene.config.reconstruction.similarity)[0, 0].numpy()
    cells = errors.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    inside = (framed.body >= 0.5).reshape(32, 2, 32, 2).any(axis=(1, 3))
    highest = np.sort(cells[inside])[::-1]
    count = 1 if score == "max" else max(round(share * inside.sum()), 1)
    assert found.image_score == pytest.approx(float(highest[:count].mean()), rel=1e-4)


def test_a_healthy_level_takes_away_what_is_always_hard():
    scene = picture_scene()
    plain = scene.detect(scene.detector([Brightness()])).anomaly_map
    levelled = Scene(
        config_of(False, healthy_level=True), scene.affine, scene.healthy, scene.sick, scene.lesion, scene.positions
    )
    cells = SIDE // CELL
    mean, deviation = torch.full((cells, cells), 0.1), torch.full((cells, cells), 0.5)
    found = levelled.detect(levelled.detector([Brightness()], levels={"msgms": HealthyLevel(mean, deviation)}))
    seen = np.isfinite(plain)
    np.testing.assert_allclose(found.anomaly_map[seen], (plain[seen] - 0.1) / 0.5, atol=1e-5)


def test_saliency_is_asked_for_once_where_it_is_kept():
    scene, source, store = volume_scene(), Brightness(), FeatureStore()
    first = scene.detect(scene.detector([source], store=store))
    assert source.asked == 5
    again = scene.detect(scene.detector([source], store=store))
    assert source.asked == 5
    np.testing.assert_array_equal(first.anomaly_map, again.anomaly_map)


def test_thresholds_warnings_and_identity_travel_along():
    scene = picture_scene()
    detector = scene.detector([Brightness()], warnings=("Few images.",))
    found = scene.detect(detector)
    assert (found.image_threshold, found.pixel_threshold) == (CALIBRATION.image, CALIBRATION.pixel)
    assert (detector.image_threshold, detector.pixel_threshold) == (CALIBRATION.image, CALIBRATION.pixel)
    assert (found.warnings, detector.identity) == (("Few images.",), IDENTITY)
    assert detector.description == "Saliency: made up."
    assert (found.prompt_specificity, found.uncertainty_map) == (None, None)


def test_progress_counts_slices_and_may_end_the_work():
    scene = volume_scene()
    told: list[tuple[int, int]] = []
    scene.detector([Brightness()]).detect(
        scene.sick, scene.affine, scene.positions, lambda done, total: told.append((done, total))
    )
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]

    def cancel(done: int, total: int) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        scene.detector([Brightness()]).detect(scene.sick, scene.affine, scene.positions, cancel)


def test_a_network_that_answers_nonsense_is_told():
    scene = picture_scene()
    broken = Healthy(np.full((SIDE, SIDE), np.nan, dtype=np.float32))
    with pytest.raises(ModelError, match=r"restoration of U-Net is not finite\. Train it again"):
        scene.detect(scene.detector([Brightness()], broken))


def test_an_image_of_which_nothing_is_seen():
    scene = volume_scene()
    nothing = PreparedVolume(scene.sick.scaled, np.zeros_like(scene.sick.seen))
    with pytest.raises(ImageReadError, match="No pixel of the image holds body"):
        scene.detector([Brightness()]).detect(nothing, scene.affine, scene.positions, no_progress)


@pytest.mark.parametrize(
    ("wanted", "places"), [(1, (0,)), (3, (0, 2, 4)), (9, (0, 1, 2, 3, 4)), (None, (0, 1, 2, 3, 4))]
)
def test_slices_to_learn_from_are_evenly_spread(wanted, places):
    scene = volume_scene()
    image = PreparedImage(scene.sick, scene.affine, scene.positions)
    cuts = cuts_of(image, wanted)
    assert len(cuts) == len(places)
    for cut, place in zip(cuts, places, strict=True):
        np.testing.assert_array_equal(
            cut.scaled, extract_slice(scene.sick.scaled, scene.affine, scene.positions[place])
        )
        assert cut.spacing_mm == pytest.approx((1.5, 1.0))
