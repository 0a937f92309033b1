from __future__ import annotations

import numpy as np

from anomalabel.training.textures import draw_texture_picture


def test_one_seed_one_picture() -> None:
    first, again, other = (draw_texture_picture(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def test_pictures_use_all_grey_levels_and_have_edges_at_every_scale() -> None:
    generator = np.random.default_rng(5)
    for _ in range(8):
        picture = draw_texture_picture(generator)
        assert picture.shape == (224, 224)
        assert picture.dtype == np.uint8
        assert (picture.min(), picture.max()) == (0, 255)
        assert picture.std() > 20
        assert len(np.unique(picture)) > 100
        for step in (2, 8, 32):
            assert np.abs(picture[::step].astype(int) - np.roll(picture[::step], step, axis=1)).mean() > 1
