import numpy as np
import pytest

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.metrics import compute_curves, compute_metrics
from anomalabel.evaluation.metrics.box_matching import box_ious
from anomalabel.evaluation.metrics.finding_level import FindingMetrics


def overlap(first, second):
    """Intersection over union by painting pixels."""
    painted = []
    for box in (first, second):
        mask = np.zeros((24,) * len(box.low), dtype=bool)
        mask[tuple(slice(low, high + 1) for low, high in zip(box.low, box.high, strict=True))] = True
        painted.append(mask)
    return (painted[0] & painted[1]).sum() / (painted[0] | painted[1]).sum()


def slow_sensitivity(cases, allowed):
    """Best sensitivity of all thresholds that keep to the allowed false alarms per image."""
    best = 0.0
    for cut in sorted({box.score for found, _ in cases for box in found}):
        hit = alarms = 0
        for found, true_boxes in cases:
            kept = [box for box in found if box.score >= cut]
            hit += sum(any(overlap(box, true) >= 0.1 for box in kept) for true in true_boxes)
            alarms += sum(all(overlap(box, true) < 0.1 for true in true_boxes) for box in kept)
        if alarms / len(cases) <= allowed:
            best = max(best, hit / sum(len(true_boxes) for _, true_boxes in cases))
    return best


def slow_ap(cases, iou):
    """PASCAL VOC 2010: walk down the ranking, then take the best precision at or beyond each recall."""
    ranking = sorted(((box.score, number, box) for number, (found, _) in enumerate(cases) for box in found), key=first)
    taken = set()
    hits = []
    for _, number, box in ranking:
        free = [
            (overlap(box, true), index)
            for index, true in enumerate(cases[number][1])
            if (number, index) not in taken and overlap(box, true) >= iou
        ]
        hits.append(bool(free))
        if free:
            taken.add((number, max(free)[1]))
    total = sum(len(true_boxes) for _, true_boxes in cases)
    precision = [sum(hits[: end + 1]) / (end + 1) for end in range(len(hits))]
    return sum(max(precision[end:]) for end, hit in enumerate(hits) if hit) / total


def first(entry):
    return -entry[0]


def random_box(rng, dimensions, score=1.0):
    low = rng.integers(0, 14, dimensions)
    return Box(tuple(map(int, low)), tuple(map(int, low + rng.integers(1, 9, dimensions))), score)


TRUE = Box((2, 2), (5, 5))
EXACT = Box((2, 2), (5, 5), 0.6)
SHIFTED = Box((2, 4), (5, 7), 0.9)
ELSEWHERE = Box((10, 10), (12, 12), 0.8)


def test_both_ends_belong_to_a_box():
    # 4 x 4 pixels each, 4 x 2 shared: 8 / 24
    assert box_ious([SHIFTED], [TRUE])[0, 0] == pytest.approx(1 / 3)
    # cuboids 2 x 4 x 4, one slice shared: 16 / 48
    assert box_ious([Box((0, 0, 0), (1, 3, 3))], [Box((1, 0, 0), (2, 3, 3))])[0, 0] == pytest.approx(1 / 3)
    assert box_ious([ELSEWHERE], [TRUE])[0, 0] == 0
    assert box_ious([], [TRUE]).shape == (0, 1)


def test_metrics_by_hand(summary, thresholds):
    sick = summary(True, 1, true_boxes=(TRUE,), found=(SHIFTED, EXACT, ELSEWHERE), identity="sick")
    other = summary(True, 1, true_boxes=(TRUE,), found=(Box((2, 2), (5, 5), 0.5),), identity="other")
    healthy = summary(False, 0, found=(Box((0, 0), (1, 1), 0.7), Box((8, 8), (9, 9), 0.55)), identity="healthy")
    values = compute_metrics([sick, other, healthy], thresholds)
    # down the scores: 0.9 hits (IoU 1/3), alarms 0.8, 0.7, (0.6 hits again), 0.55, then 0.5 hits: 3 alarms on 3 images
    assert values["finding_sensitivity_at_0.5_fp"] == 0.5
    assert values["finding_sensitivity_at_1_fp"] == 1.0
    assert values["finding_sensitivity_at_2_fp"] == 1.0
    # at IoU 0.1 and 0.3: hits at ranks 1 and 6: (1 + 2/6) / 2
    assert values["finding_ap_at_0.1"] == values["finding_ap_at_0.3"] == pytest.approx((1 + 2 / 6) / 2)
    # at IoU 0.5 SHIFTED is an alarm: hits at ranks 4 and 6, 1/4 below the 2/6 that comes later
    assert values["finding_ap_at_0.5"] == pytest.approx(2 / 6)


def test_a_second_finding_on_a_box_is_no_false_alarm_of_froc_but_one_of_precision(summary, thresholds):
    twice = summary(True, 1, true_boxes=(TRUE, Box((9, 9), (11, 11))), found=(SHIFTED, EXACT, ELSEWHERE))
    curve = compute_curves([twice]).froc
    assert curve.x.max() == 0
    assert curve.y[-1] == 1
    # hit, hit (4 of 14 pixels with the second box), repeated
    values = compute_metrics([twice], thresholds)
    assert values["finding_ap_at_0.1"] == 1
    # at 0.5 only EXACT on rank 3 hits: 1/3 over two boxes
    assert values["finding_ap_at_0.5"] == pytest.approx(1 / 6)


def test_each_finding_takes_the_free_box_it_overlaps_most(summary, thresholds):
    neighbour = Box((2, 5), (5, 8))
    found = (Box((2, 4), (5, 7), 0.9), Box((2, 4), (5, 7), 0.8))
    values = compute_metrics([summary(True, 1, true_boxes=(TRUE, neighbour), found=found)], thresholds)
    # the first takes the neighbour (12 / 20), the second the other (8 / 24): both right at 0.3, one at 0.5
    assert values["finding_ap_at_0.3"] == 1
    assert values["finding_ap_at_0.5"] == 0.5


def test_findings_of_equal_score_enter_together(summary, thresholds):
    found = (Box((2, 2), (5, 5), 0.9), Box((10, 10), (12, 12), 0.9))
    values = compute_metrics([summary(True, 1, true_boxes=(TRUE,), found=found)], thresholds)
    assert values["finding_sensitivity_at_0.5_fp"] == 0
    assert values["finding_sensitivity_at_1_fp"] == 1
    assert values["finding_ap_at_0.5"] == 0.5


def test_no_finding_finds_nothing(summary, thresholds):
    values = compute_metrics([summary(True, 1, true_boxes=(TRUE,))], thresholds)
    assert values["finding_sensitivity_at_2_fp"] == values["finding_ap_at_0.1"] == 0


def test_a_case_whose_place_is_unknown_is_left_out(summary, thresholds):
    known = summary(True, 1, true_boxes=(TRUE,), found=(ELSEWHERE, EXACT), identity="known")
    unknown = summary(True, 1, true_boxes=None, found=(ELSEWHERE,) * 5, identity="unknown")
    alone, both = compute_metrics([known], thresholds), compute_metrics([known, unknown], thresholds)
    assert {name: both[name] for name in both if "finding" in name} == {
        name: alone[name] for name in alone if "finding" in name
    }
    # one alarm on the one image that counts, not on two
    assert both["finding_sensitivity_at_0.5_fp"] == 0


def test_nothing_to_find_is_not_defined(summary, thresholds):
    values = compute_metrics([summary(False, 0, found=(ELSEWHERE,))], thresholds)
    assert {value for name, value in values.items() if name.startswith("finding")} == {None}
    assert compute_curves([summary(False, 0, found=(ELSEWHERE,))]).froc is None


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_metrics_agree_with_slow_references(summary, thresholds, dimensions, seed):
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(200) / 200)
    cases = []
    for _ in range(8):
        true_boxes = tuple(random_box(rng, dimensions) for _ in range(rng.integers(0, 3)))
        found = [random_box(rng, dimensions, float(next(scores))) for _ in range(rng.integers(0, 4))]
        found += [Box(box.low, box.high, float(next(scores))) for box in true_boxes if rng.random() < 0.5]
        cases.append((found, true_boxes))
    values = compute_metrics(
        [
            summary(
                bool(true_boxes),
                0,
                np.zeros((24,) * dimensions),
                true_boxes=true_boxes,
                found=found,
                identity=str(number),
            )
            for number, (found, true_boxes) in enumerate(cases)
        ],
        thresholds,
    )
    for allowed in (0.5, 1, 2):
        expected = slow_sensitivity(cases, allowed)
        assert values[f"finding_sensitivity_at_{allowed}_fp"] == pytest.approx(expected)
    for iou in (0.1, 0.3, 0.5):
        assert values[f"finding_ap_at_{iou}"] == pytest.approx(slow_ap(cases, iou))


def test_a_resample_counts_a_case_as_often_as_it_was_drawn(summary):
    rng = np.random.default_rng(11)
    cases = [
        summary(
            True,
            0,
            true_boxes=(random_box(rng, 2),),
            found=[random_box(rng, 2, float(rng.random())) for _ in range(6)],
        ).findings
        for _ in range(10)
    ]
    drawn = np.array([2, 0, 1, 1, 3, 0, 0, 1, 2, 0])
    weighted = FindingMetrics(cases).evaluate(drawn[None].astype(float))
    repeated = [cases[number] for number in np.repeat(np.arange(10), drawn)]
    expected = FindingMetrics(repeated).evaluate(np.ones((1, 10)))
    assert {name: value[0] for name, value in weighted.items()} == pytest.approx(
        {name: value[0] for name, value in expected.items()}
    )
    assert weighted["finding_ap_at_0.1"] > 0
