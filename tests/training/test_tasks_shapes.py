"""Shapes and places of anomalies; what planted lesions draw from a seed stays what the shipped weights learned from."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.training.synthetic import plant_lesion
from anomalabel.training.tasks.region import DIAMETERS, draw_place, draw_region
from anomalabel.training.tasks.shapes import irregular_distance, smooth_noise

SIDE = 160


@pytest.mark.parametrize(
    ("seed", "difference", "area", "peak"),
    [
        (0, 26.669645, 52.816566, (69, 73)),
        (1, 169.638, 570.9201, (46, 42)),
        (2, 15.193159, 100.30727, (69, 23)),
        (3, -69.08048, 127.513664, (67, 34)),
        (4, 90.06774, 251.76064, (61, 59)),
        (5, 177.26239, 352.00357, (58, 31)),
    ],
)
def test_a_seed_plants_the_lesion_it_always_planted(seed, difference, area, peak):
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    inside = (rows / 0.8) ** 2 + (columns / 0.7) ** 2 < 1
    head = np.where(inside, 0.5 + 0.2 * rows * columns, 0).astype(np.float32)
    changed, shape = plant_lesion(head, np.random.default_rng(seed))
    assert (changed - head).sum() == pytest.approx(difference, rel=1e-4)
    assert shape.sum() == pytest.approx(area, rel=1e-4)
    assert np.unravel_index(shape.argmax(), shape.shape) == peak


def test_without_roughness_the_outline_is_a_turned_ellipse():
    angle = np.arctan2(3, 4)
    distance = irregular_distance(
        (41, 41), np.array([20, 20]), np.array([10.0, 5.0]), angle, 0.0, np.random.default_rng(0)
    )
    assert distance[20, 20] == 0
    assert distance[20 + 8, 20 + 6] == pytest.approx(1, abs=1e-5), "10 pixels along the long axis"
    assert distance[20 - 6, 20 + 8] == pytest.approx(2, abs=1e-5), "10 pixels along the short axis"


def test_smooth_noise_has_unit_deviation_and_similar_neighbours():
    noise = smooth_noise((SIDE, SIDE), 5, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=1e-3)
    # A Gaussian of sd 5 leaves a correlation of exp(-1 / (4 * 25)) between neighbours.
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(np.exp(-0.01), abs=2e-3)


def test_places_are_drawn_evenly_from_what_is_allowed():
    allowed = np.zeros((3, 4), dtype=bool)
    allowed[0, 1] = allowed[2, 3] = True
    generator = np.random.default_rng(0)
    drawn = [tuple(draw_place(allowed, generator)) for _ in range(1000)]
    assert set(drawn) == {(0, 1), (2, 3)}
    assert drawn.count((0, 1)) == pytest.approx(500, abs=65), "4 standard deviations"


def test_regions_have_the_stated_sizes_and_centres_in_the_body():
    body = np.zeros((SIDE, SIDE), dtype=bool)
    body[40:120, 60:110] = True
    generator = np.random.default_rng(1)
    diameters, shares = [], []
    for _ in range(150):
        region = draw_region(body, generator)
        assert body[tuple(region.centre)]
        diameters.append(region.diameter / SIDE)
        area = (region.distance < 1).sum()
        shares.append(np.sqrt(4 * area / np.pi) / region.diameter)
    assert min(diameters) >= DIAMETERS[0]
    assert max(diameters) <= DIAMETERS[1]
    assert np.mean(diameters) == pytest.approx(0.165, abs=4 * 0.27 / np.sqrt(12 * 150)), "even between both ends"
    # Flat ellipses are from sqrt(0.5) to 1 times as wide on average as they are long; the outline wanders around that.
    assert np.median(shares) == pytest.approx(np.sqrt(0.75), abs=0.08)
    assert np.std(shares) > 0.05
