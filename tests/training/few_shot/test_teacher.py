"""What a teacher tells: of the very views that the student sees, on the student's grid."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from anomalabel.config import AugmentationSettings
from anomalabel.errors import ModelError
from anomalabel.localization.few_shot.grid import grid_features
from anomalabel.localization.similarity import abnormal_logit
from anomalabel.training.few_shot.shots import make_views
from anomalabel.training.few_shot.teacher import Teacher

LOUD = AugmentationSettings(rotation_degrees=20, intensity_jitter=0.3)


def test_a_teacher_that_is_the_student_sees_the_same_views(bench):
    settings, shot, texts = bench.make().few_shot, bench.shot(0), bench.source.plain()
    told = Teacher(bench.encoder, texts).logits(shot, settings, LOUD, 3)
    views = make_views(shot, bench.encoder, settings, LOUD, 3)
    level = grid_features((*views.patches, *shot.patches)).levels[bench.encoder.text_level]
    logit = abnormal_logit(level, texts.healthy, texts.diseased, settings.temperature)
    assert told.shape == (5, 16, 2)
    assert not told[..., 0].any()
    torch.testing.assert_close(told[..., 1], logit)


class Finer:
    """The student's encoder, each patch cut into four."""

    def __init__(self, encoder):
        self._encoder, self.side, self.text_level = encoder, encoder.side, encoder.text_level
        self.identity, self.level_weights = encoder.identity, encoder.level_weights

    def patch_features(self, images):
        maps = self._encoder.patch_features(images)
        return tuple(level.repeat_interleave(2, -1).repeat_interleave(2, -2) for level in maps)


def test_another_grid_becomes_the_students(bench):
    settings, shot, texts = bench.make().few_shot, bench.shot(0), bench.source.plain()
    told = Teacher(Finer(bench.encoder), texts).logits(shot, settings, LOUD, 3)
    plain = Teacher(bench.encoder, texts).logits(shot, settings, LOUD, 3)
    assert told.shape == plain.shape
    torch.testing.assert_close(told, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("change", [{"side": 64}, {"text_level": None}])
def test_a_teacher_that_does_not_fit_is_refused(bench, change):
    encoder = Finer(bench.encoder)
    for name, value in change.items():
        setattr(encoder, name, value)
    with pytest.raises(ModelError, match=r"tiny cannot teach here.*not 32 pixels.*few_shot.distillation"):
        Teacher(encoder, bench.source.plain()).logits(bench.shot(0), bench.make().few_shot, LOUD, 0)


def test_volumes_are_told_slice_by_slice(bench):
    first, second = bench.shot(0), bench.shot(1)
    volume = replace(first, framed=first.framed + second.framed, patches=first.patches + second.patches)
    told = Teacher(bench.encoder, bench.source.plain()).logits(volume, bench.make().few_shot, LOUD, 0)
    alone = Teacher(bench.encoder, bench.source.plain()).logits(second, bench.make().few_shot, LOUD, 0)
    assert told.shape == (4 + 2, 16, 2)
    torch.testing.assert_close(told[-1], alone[-1])
