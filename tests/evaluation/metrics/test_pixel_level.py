import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anomalabel.evaluation.cases import Thresholds
from anomalabel.evaluation.metrics import compute_metrics

UNSEEN = np.nan

SICK_MAP = [[0.9, 0.6, 0.1, UNSEEN], [0.4, 0.2, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0]]
SICK_LESION = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
HEALTHY_MAP = [[0.7, 0.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]


@pytest.fixture
def by_hand(summary, thresholds):
    """One sick image, three lesion pixels (0.9, 0.4, 0.2) and eight seen others, and a healthy one of twelve."""
    sick = summary(True, 0.9, SICK_MAP, SICK_LESION, identity="sick")
    healthy = summary(False, 0.1, HEALTHY_MAP, identity="healthy")
    return compute_metrics([sick, healthy], thresholds)


def test_the_pooled_table_by_hand(by_hand):
    # from 0.5 on: lesion 0.9 is found, 0.4 and 0.2 missed; others 0.6 and 0.7 are false, 8 + 12 - 2 true
    assert [by_hand[f"pixel_{name}"] for name in ("tp", "fn", "fp", "tn")] == [1, 2, 2, 18]
    assert by_hand["pixel_accuracy"] == pytest.approx(19 / 23)
    assert by_hand["pixel_precision"] == pytest.approx(1 / 3)
    assert by_hand["pixel_recall"] == pytest.approx(1 / 3)
    assert by_hand["pixel_specificity"] == pytest.approx(18 / 20)
    assert by_hand["pixel_f1"] == by_hand["pixel_dice"] == pytest.approx(2 / 6)
    assert by_hand["pixel_iou"] == pytest.approx(1 / 5)


def test_dice_per_image_leaves_healthy_images_out(by_hand):
    # in the sick image alone: 2 * 1 / (2 * 1 + 1 + 2)
    assert by_hand["pixel_dice_per_image"] == pytest.approx(2 / 5)


def test_the_ranking_by_hand(by_hand):
    # of 3 x 20 pairs 0.9 wins 20; 0.4 and 0.2 lose to 0.7 and 0.6 and win 18 each
    assert by_hand["pixel_auroc"] == pytest.approx(56 / 60)
    # recall grows by 1/3 at precision 1/1, then below 0.7 and 0.6 at 2/4 and 3/5
    assert by_hand["pixel_auprc"] == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    # 0.9: 2 / (1 + 3); 0.4: 4 / (4 + 3); 0.2: 6 / (5 + 3)
    assert by_hand["oracle_pixel_dice"] == pytest.approx(0.75)


def test_an_unseen_lesion_pixel_is_missed_and_an_unseen_other_left_out(summary, thresholds):
    anomaly_map, lesion = [[0.9, UNSEEN, 0.1, UNSEEN]], [[1, 1, 0, 0]]
    values = compute_metrics([summary(True, 1, anomaly_map, lesion)], thresholds)
    assert [values[f"pixel_{name}"] for name in ("tp", "fn", "fp", "tn")] == [1, 1, 0, 1]
    # 0.9 wins over 0.1, the unseen one loses
    assert values["pixel_auroc"] == pytest.approx(0.5)
    # precision 1 at recall 1/2; the unseen one comes last of three
    assert values["pixel_auprc"] == pytest.approx((1 + 2 / 3) / 2)


def test_an_abnormal_image_without_a_mask_stays_out(summary, thresholds, by_hand):
    sick = summary(True, 0.9, SICK_MAP, SICK_LESION, identity="sick")
    healthy = summary(False, 0.1, HEALTHY_MAP, identity="healthy")
    unmasked = summary(True, 0.9, np.ones((3, 4)), identity="unmasked")
    values = compute_metrics([sick, unmasked, healthy], thresholds)
    for name, value in by_hand.items():
        if name.startswith("pixel"):
            assert values[name] == value, name


def test_without_any_lesion_pixel_nothing_is_said_about_pixels(summary, thresholds):
    values = compute_metrics([summary(True, 0.9), summary(False, 0.1, HEALTHY_MAP)], thresholds)
    assert {value for name, value in values.items() if "pixel" in name} == {None}


def test_an_empty_mask_adds_only_pixels_outside(summary, thresholds):
    sick = summary(True, 0.9, SICK_MAP, SICK_LESION, identity="sick")
    empty = summary(True, 0.9, HEALTHY_MAP, np.zeros((3, 4)), identity="empty")
    values = compute_metrics([sick, empty], thresholds)
    assert values["pixel_tn"] == 18
    assert values["pixel_dice_per_image"] == pytest.approx(2 / 5)


def test_the_threshold_itself_is_abnormal(outcome):
    from anomalabel.evaluation.metrics import summarise

    cuts = Thresholds(image=0.4, pixel=0.4, rule="")
    values = compute_metrics([summarise(outcome(True, 0.4, np.float32(SICK_MAP), SICK_LESION), cuts)], cuts)
    # float32 0.4 lies above 0.4, so it is in; 0.9 and 0.4 are found
    assert values["pixel_tp"] == 2
    assert values["image_recall"] == 1


def test_a_volume_of_one_slice_and_a_picture_say_the_same(summary, thresholds):
    rng = np.random.default_rng(2)
    anomaly_map, lesion = rng.random((12, 10)), rng.random((12, 10)) < 0.2
    picture = compute_metrics([summary(True, 1, anomaly_map, lesion)], thresholds)
    volume = compute_metrics([summary(True, 1, anomaly_map[None], lesion[None])], thresholds)
    assert volume == pytest.approx(picture)


def test_a_volume_is_ranked_as_a_whole(summary, thresholds):
    rng = np.random.default_rng(4)
    lesion = np.zeros((5, 12, 10), dtype=bool)
    lesion[1:3, 4:8, 2:6] = True
    anomaly_map = (rng.random(lesion.shape) + lesion).astype(np.float32)
    case = summary(True, 1, anomaly_map, lesion)
    values = compute_metrics([case], thresholds)
    expected = roc_auc_score(lesion.ravel(), anomaly_map.ravel())
    assert values["pixel_auroc"] == pytest.approx(expected)
    assert case.pixels.auroc == pytest.approx(expected)
    assert case.pixels.ranks.region_count == 1


def test_one_image_has_its_own_auroc_only_with_both_kinds_of_pixels(summary):
    # 0.9 wins 8, 0.4 and 0.2 lose to 0.6 and win 7: 22 of 24
    assert summary(True, 1, SICK_MAP, SICK_LESION).pixels.auroc == pytest.approx(22 / 24)
    assert summary(True, 1, np.ones((2, 2)), np.ones((2, 2))).pixels.auroc is None
    assert summary(False, 0, HEALTHY_MAP).pixels.auroc is None
    assert summary(False, 0, HEALTHY_MAP).pixels.dice is None
