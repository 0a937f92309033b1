"""Extra maps from a detector that has them to the files, and refusals before anything is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.config import DetectionRequest
from anomalabel.detectors.base import Detection, ShowingDetector, evenly_spread
from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.errors import ConfigError
from anomalabel.finding import ModelIdentity
from anomalabel.pipeline import DetectionPipeline, HealthyFiles

SHAPE = (1, 48, 64)


class Inverting:
    """Believes that the inverted image is healthy, and looks where it is bright."""

    identity = ModelIdentity(name="inverting", weights_sha256="0" * 64)

    def __init__(self, *shows) -> None:
        self.shows = frozenset(shows)
        self.asked: list[tuple[str, ...]] = []

    def detect(self, prepared, affine_ras, positions, progress, extra_maps=()) -> Detection:
        self.asked.append(tuple(extra_maps))
        every = {"saliency": prepared.scaled * 3, "reconstruction": 1 - prepared.scaled}
        return Detection(np.abs(prepared.scaled - 0.5), 0.5, extra_maps={name: every[name] for name in extra_maps})


@pytest.fixture(scope="module")
def pipeline() -> DetectionPipeline:
    return DetectionPipeline("cpu", "float32")


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(20, 200, SHAPE[1:]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def ask(*extra_maps, method="reconstruction") -> DetectionRequest:
    return DetectionRequest(config="chest_xray", method=method, extra_maps=extra_maps)


def of_intensity(*extra_maps) -> DetectionRequest:
    return ask(*extra_maps, method="intensity")


def test_maps_that_are_asked_for_come_on_the_images_grid(pipeline, picture):
    detector = Inverting("saliency", "reconstruction")
    result = pipeline.detect(picture, of_intensity("reconstruction", "saliency"), detector=detector)
    assert detector.asked == [("reconstruction", "saliency")]
    scaled = result.seen.prepared.scaled
    assert result.anomaly_map.shape == scaled.shape == SHAPE
    np.testing.assert_array_equal(result.extra_maps["reconstruction"], 1 - scaled)
    np.testing.assert_array_equal(result.extra_maps["saliency"], scaled * 3)
    assert result.seen.volume is result.volume
    assert result.seen.config.name == "chest_xray"
    one = pipeline.detect(picture, of_intensity("saliency"), detector=Inverting("saliency"))
    assert set(one.extra_maps) == {"saliency"}


def test_maps_that_nobody_asked_for_are_not_made(pipeline, picture):
    detector = Inverting("saliency", "reconstruction")
    result = pipeline.detect(picture, of_intensity(), detector=detector)
    assert detector.asked == [()]
    assert (dict(result.extra_maps), result.seen) == ({}, None)


def test_who_shows_what_it_has_is_known_by_its_kind():
    assert isinstance(Inverting("saliency"), ShowingDetector)
    assert not isinstance(IntensityDetector(None), ShowingDetector)


def test_a_detector_that_cannot_show_a_map_is_not_asked(pipeline):
    detector = Inverting("reconstruction")
    refusal = r"^inverting \(intensity\) has no saliency map to show\. Ask for reconstruction alone, or use a model"
    with pytest.raises(ConfigError, match=refusal):
        pipeline.detect(Path("missing.png"), of_intensity("reconstruction", "saliency"), detector=detector)
    assert detector.asked == []


@pytest.mark.parametrize(
    ("method", "wanted", "refusal"),
    [
        ("intensity", ("saliency",), r"method intensity has no saliency map to show\. Leave extra maps out"),
        ("few_shot", ("reconstruction", "saliency"), "method few_shot has no reconstruction or saliency map"),
        ("clap", ("saliency", "saliency"), "method clap has no saliency map"),
        ("reconstruction_none", ("reconstruction", "saliency"), r"no saliency map to show\. Ask for reconstruction"),
    ],
)
def test_a_method_without_the_map_is_refused_before_anything_is_read(pipeline, method, wanted, refusal):
    with pytest.raises(ConfigError, match=refusal):
        pipeline.detector(ask(*wanted, method=method), [Path("missing.png")])
    with pytest.raises(ConfigError, match=refusal):
        pipeline.detect(Path("missing.png"), ask(*wanted, method=method))


def test_healthy_images_are_read_when_they_are_asked_for(pipeline, picture):
    told = []
    config = pipeline.detect(picture, of_intensity("saliency"), detector=Inverting("saliency")).seen.config
    healthy = HealthyFiles(
        [picture, Path("missing.png"), picture], config, lambda done, total: told.append((done, total))
    )
    assert len(healthy) == 3
    assert (healthy[2].source, healthy[0].prepared.scaled.shape) == (str(picture), SHAPE)
    assert told == [(2, 3), (0, 3)]
    assert [one.source for one in healthy[::2]] == [str(picture)] * 2
    assert evenly_spread(len(healthy[1:]), 2) == (0, 1)
    with pytest.raises(IndexError):
        healthy[3]
