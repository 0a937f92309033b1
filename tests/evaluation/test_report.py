"""The report says what the results say, loads nothing, and shows a reason where there is no number."""

import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from anomalabel.errors import OutputError
from anomalabel.evaluation.cases import Box, Estimate, Thresholds
from anomalabel.evaluation.report.content import (
    Comparison,
    Curve,
    DrawCurves,
    DrawResult,
    FailedImage,
    ImageScore,
    MethodResult,
    NearDuplicate,
    ReportContent,
    ReportExample,
    SetFacts,
    ShotResult,
)
from anomalabel.evaluation.report.curve_plots import mean_curve
from anomalabel.evaluation.report.drawing import METHOD_COLOURS
from anomalabel.evaluation.report.example_pictures import heatmap_scale, verdict
from anomalabel.evaluation.report.examples import choose_examples
from anomalabel.evaluation.report.glossary import METRICS, metric_named
from anomalabel.evaluation.report.page import render_report, write_report
from anomalabel.evaluation.report.tables import metric_tables, number, overview, p_value
from anomalabel.evaluation.report.wording import summary_sentence, warnings

RULE = "image: 95th percentile of the scores of 16 held-out healthy images"
HOSTILE = "<script>alert(1)</script>\"'&.png"
VOID = {"meta", "img", "br", "link", "input", "hr"}
LEVEL_RANGE = {"share": (0.55, 0.95), "correlation": (0.2, 0.7), "pixels": (8.0, 60.0), "count": (2e3, 9e5)}


class Page(HTMLParser):
    """All that a test asks of a page: elements with their attributes, visible text, table rows, and balance."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.texts, self.rows, self.unbalanced = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in {"td", "th"}:
            self.rows[-1][1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, metric):
        return next(cells for attributes, cells in self.rows if attributes.get("data-metric") == metric)


def estimate(values, spread=0.05):
    mean = float(np.mean(values))
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(mean, std, (mean - spread, mean + spread), tuple(float(value) for value in values))


def curves_of(scores, rng):
    truth = [score.abnormal for score in scores]
    values = [score.score for score in scores]
    if len(set(truth)) < 2:
        return DrawCurves()
    fpr, tpr, _ = roc_curve(truth, values)
    precision, recall, _ = precision_recall_curve(truth, values)
    x = np.linspace(0, 1, 60)
    false_alarms = np.linspace(0, 4, 40)
    return DrawCurves(
        roc=Curve(fpr, tpr),
        pr=Curve(recall, precision),
        froc=Curve(false_alarms, 0.8 * (1 - np.exp(-false_alarms - rng.uniform(0, 0.3)))),
        pixel_roc=Curve(x, x ** rng.uniform(0.2, 0.3)),
        pixel_pr=Curve(x, 0.7 * (1 - x) ** rng.uniform(0.8, 1.2)),
    )


def draw_of(name, shift, rng, healthy=100, sick=100):
    scores = tuple(
        [ImageScore(f"normal/h{index:03}.png", False, float(rng.normal())) for index in range(healthy)]
        + [ImageScore(f"abnormal/s{index:03}.png", True, float(rng.normal(shift))) for index in range(sick)]
    )
    return DrawResult(name, Thresholds(1.645, 0.5, RULE), scores, curves_of(scores, rng))


def method_of(name, shift, counts, rng, draws=5, model="embedded"):
    shots = []
    for step, count in enumerate(counts):
        estimates = {}
        for metric in METRICS:
            low, high = LEVEL_RANGE[metric.unit]
            middle = low + (high - low) * (shift / 4 + 0.08 * step)
            estimates[metric.key] = estimate(middle + (high - low) * rng.normal(0, 0.03, draws), 0.1 * (high - low))
        estimates["oracle_pixel_dice"] = estimate(rng.uniform(0.6, 0.7, draws))
        runs = tuple(draw_of(f"seed {seed}", shift + 0.2 * step, rng) for seed in range(draws))
        shots.append(ShotResult(count, estimates, runs))
    return MethodResult(name, model, "ab12" * 16 if model else "", tuple(shots))


def example_of(identity, abnormal, position, score, rng, size=224, masked=True):
    y, x = np.mgrid[:size, :size] / size
    head = ((y - 0.5) ** 2 + (x - 0.5) ** 2) < 0.2
    lesion = ((y - 0.35) ** 2 + (x - 0.6) ** 2) < 0.006
    image = np.clip(0.4 * head + 0.3 * (lesion & abnormal) + rng.normal(0, 0.04, y.shape) * head, 0, 1)
    anomaly_map = np.exp(-((y - 0.38) ** 2 + (x - 0.57) ** 2) * 40) * (0.9 if abnormal else 0.3) + 0.1 * x
    anomaly_map[~head] = np.nan
    true = (Box((61, 117), (95, 151)),) if abnormal else ()
    found = (Box((60, 105), (110, 150), 0.9), Box((150, 60), (175, 90), 0.6)) if score > 1 else ()
    return ReportExample(
        identity,
        abnormal,
        position,
        image.astype(np.float32),
        anomaly_map.astype(np.float32),
        (lesion & abnormal) if masked else None,
        true if masked else None,
        found,
        score,
        score >= 1.645,
        0.5,
    )


def rich_content():
    rng = np.random.default_rng(0)
    methods = (
        method_of("normal_bank", 2.0, (4, 8, 16, 32), rng),
        method_of("clap", 1.3, (0,), rng, draws=1),
        method_of("intensity", 0.6, (4, 8, 16, 32), rng, model=""),
    )
    chosen = choose_examples(methods[0].shots[-1].draws[0].scores)
    scores = {score.identity: score for score in methods[0].shots[-1].draws[0].scores}
    return ReportContent(
        title="Normal bank, CLAP and intensity on brain MRI",
        date="2026-01-31",
        version="0.3.0",
        facts=SetFacts("brain_mri/test", 100, 100, 97, 100, 148),
        methods=methods,
        protocol=("The shots are nested: the 4 are among the 8.", "Five draws, seeds 0 to 4."),
        settings={"Config": "brain_mri", "Command": "anomalabel evaluate --config brain_mri --out run"},
        comparisons=(
            Comparison("normal_bank", "intensity", 32, "DeLong", "image AUROC, seed 0", 0.231, 1.2e-7, 200),
            Comparison("normal_bank", "intensity", 32, "Wilcoxon signed-rank", "Dice of each image", 0.08, 0.0312, 97),
            Comparison("normal_bank", "clap", None, "paired t-test", "AUROC of each draw", None, None, 1, "one draw"),
        ),
        near_duplicates=(NearDuplicate("normal/h900.png", "normal/h003.png", "difference hash, 2 of 64 bits differ"),),
        failed=(FailedImage("abnormal/broken.png", "The file ends before the picture does."),),
        examples=tuple(
            example_of(each.identity, scores[each.identity].abnormal, each.position, scores[each.identity].score, rng)
            for each in chosen
        ),
    )


def sparse_content():
    rng = np.random.default_rng(1)
    draw = draw_of("the only draw", 1.0, rng, healthy=0, sick=3)
    undefined = Estimate(None, None, None, (None,))
    estimates = {metric.key: undefined for metric in METRICS} | {"image_recall": Estimate(2 / 3, None, None, (2 / 3,))}
    return ReportContent(
        title="One class",
        date="2026-01-31",
        version="0.3.0",
        facts=SetFacts("three", 0, 3, 0, 0, None),
        methods=(MethodResult("clap", "embedded", "", (ShotResult(0, estimates, (draw,)),)),),
        duplicates_checked=False,
        examples=(example_of("abnormal/s000.png", True, "lowest score", 0.2, rng, masked=False),),
    )


@pytest.fixture(scope="module")
def rich():
    content = rich_content()
    html = render_report(content)
    return content, html, Page(html)


def test_the_page_is_balanced_and_loads_nothing(rich):
    _, html, page = rich
    assert (page.unbalanced, page.open) == ([], [])
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    assert all(picture["src"].startswith("data:image/") for picture in page.all("img"))
    assert {link["href"][0] for link in page.all("a")} == {"#"}
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", html))
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none';")


def test_every_link_inside_the_page_has_its_target(rich):
    _, _, page = rich
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert {link["href"][1:] for link in page.all("a")} <= set(identities)


def test_svg_pictures_refer_to_nothing_outside(rich):
    _, _, page = rich
    vectors = [picture["src"] for picture in page.all("img") if picture["src"].startswith("data:image/svg")]
    assert len(vectors) == 5 + 6 + 3 + 1
    for vector in vectors:
        text = base64.b64decode(vector.split(",", 1)[1]).decode()
        assert not re.search(r"(href|src)=\"(?!#|data:image)", text)
        assert "@import" not in text


def test_shown_numbers_are_those_of_the_estimates(rich):
    content, _, page = rich
    tables = [cells for attributes, cells in page.rows if attributes.get("data-metric") == "image_auroc"]
    for row, method in zip(tables[1:], content.methods, strict=True):
        for cell, shot in zip(row[2:], method.shots, strict=True):
            shown = [float(part) for part in re.findall(r"\d\.\d{3}", cell)]
            true = shot.estimates["image_auroc"]
            expected = [true.mean, *([true.std] if true.std is not None else []), *true.ci95]
            assert shown == pytest.approx(expected, abs=0.0005)
    for cell, method in zip(tables[0][2:], content.methods, strict=True):
        assert cell.startswith(f"{method.shots[-1].estimates['image_auroc'].mean:.3f}")


def test_counts_and_distances_have_their_own_form(rich):
    content, _, page = rich
    estimates = content.methods[0].shots[0].estimates
    assert page.row("pixel_tp")[2].startswith(f"{estimates['pixel_tp'].mean:,.0f} ± ")
    assert page.row("pixel_hausdorff")[2].startswith(f"{estimates['pixel_hausdorff'].mean:.1f} ± ")
    assert page.row("pixel_hausdorff")[1] == "97"
    assert page.row("pixel_dice")[1] == "97 + 100"


def test_every_metric_is_explained_once(rich):
    content, _, page = rich
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    for key in content.methods[0].shots[0].estimates:
        assert metric_named(key).explanation in page.text


def test_oracle_numbers_stand_apart(rich):
    content, _, page = rich
    assert page.row("oracle_pixel_dice")[0].startswith("Best Dice (oracle), pixels")
    for method in content.methods:
        for table in metric_tables(content, method):
            assert table.oracle == all(row.key.startswith("oracle_") for row in table.rows)
            assert table.oracle == ("tuned on the test images" in table.title)
    assert "oracle" not in "".join(row.key for row in overview(content, content.methods).rows)


def test_the_summary_counts_images_from_the_threshold_on():
    scores = tuple(
        [ImageScore(f"h{score}", False, score) for score in (0.1, 0.2, 0.9)]
        + [ImageScore(f"s{score}", True, score) for score in (0.5, 0.4999, 2.0, 3.0)]
    )
    draws = (DrawResult("a", Thresholds(0.5, 0.5, RULE), scores), DrawResult("b", Thresholds(2.5, 0.5, RULE), scores))
    content = replace(sparse_content(), methods=(MethodResult("bank", "", "", (ShotResult(4, {}, draws[:1]),)),))
    assert summary_sentence(content) == (
        "Of 4 sick images bank, after seeing 4 healthy images, calls 3 abnormal, and of 3 healthy ones 1."
    )
    content = replace(content, methods=(MethodResult("bank", "", "", (ShotResult(0, {}, draws),)),))
    assert summary_sentence(content) == (
        "Of 4 sick images bank calls 2 abnormal, and of 3 healthy ones 0.5 "
        "(mean of 2 draws; single draws: 1 to 3 and 0 to 1)."
    )


def test_nothing_is_called_without_a_threshold():
    content = sparse_content()
    draw = replace(content.methods[0].shots[0].draws[0], thresholds=Thresholds(math.nan, math.nan, "no threshold"))
    estimates = {"image_tpr_at_0.5": Estimate(None, None, None, (None,)), "image_auroc": estimate([0.8])}
    method = MethodResult("clap", "", "", (ShotResult(0, estimates, (draw,)),))
    example = replace(content.examples[0], called_abnormal=None, pixel_threshold=math.nan)
    facts = replace(content.facts, normal=3)
    page = Page(render_report(replace(content, methods=(method,), facts=facts, examples=(example,))))
    assert "There is no image threshold, so clap ranks 3 sick and 0 healthy images" in page.text
    assert page.row("image_tpr_at_0.5")[2] == "not defined: there is no image threshold"
    assert "sick, not called: no threshold" in page.text
    assert "nan" not in page.text.lower().split()


def test_missing_numbers_have_a_reason():
    page = Page(render_report(sparse_content()))
    assert (page.unbalanced, page.open) == ([], [])
    assert page.row("image_auroc")[2] == "not defined: no healthy image"
    assert page.row("image_recall")[2] == "0.667 no interval"
    assert "Not defined: no sick image has a mask. This goes for AUROC" in page.text
    assert "Not defined: no sick image has a box or mask." in page.text
    assert not re.search(r"\b(nan|inf)\b", page.text)
    assert "Place of the disease unknown, 0 found" in page.text


def test_nan_and_infinite_estimates_are_not_shown_as_numbers(rich):
    content = rich[0]
    shot = content.methods[0].shots[0]
    estimates = {
        "image_auroc": Estimate(math.nan, math.nan, (math.nan, 1.0), (math.nan,)),
        "pixel_hausdorff": Estimate(12.34, math.inf, (3.0, math.inf), (12.34, None)),
        "unheard_of": Estimate(0.25, None, (0.2, 0.3), (0.25,)),
    }
    method = MethodResult("m", "", "", (replace(shot, estimates=estimates),))
    cells = {row.key: row.cells[0] for table in metric_tables(content, method) for row in table.rows}
    assert cells["image_auroc"].reason == "not defined: it has no value on these images"
    assert (cells["pixel_hausdorff"].mean, cells["pixel_hausdorff"].std) == ("12.3 (1 of 2 draws)", "")
    assert cells["pixel_hausdorff"].interval == "no interval"
    assert (cells["unheard_of"].mean, cells["unheard_of"].interval) == ("0.250", "0.200 to 0.300")


def test_hostile_texts_are_shown_and_not_obeyed():
    content = sparse_content()
    draw = content.methods[0].shots[0].draws[0]
    method = MethodResult(HOSTILE, HOSTILE, HOSTILE, (ShotResult(0, {HOSTILE: estimate([0.5])}, (draw,)),))
    surrogate = "caf\udce9.png"
    hostile = replace(
        content,
        title=HOSTILE,
        facts=replace(content.facts, name=HOSTILE),
        methods=(method,),
        settings={HOSTILE: HOSTILE},
        failed=(FailedImage(surrogate, HOSTILE),),
        near_duplicates=(NearDuplicate(HOSTILE, HOSTILE, HOSTILE),),
        comparisons=(Comparison(HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, None, None, 1, HOSTILE),),
        examples=(replace(content.examples[0], identity=HOSTILE, position=HOSTILE),),
    )
    html = render_report(hostile)
    page = Page(html)
    assert "<script" not in html
    assert page.text.count(HOSTILE) > 12
    assert any(picture["alt"].startswith(HOSTILE) for picture in page.all("img"))
    assert r"caf\udce9.png" in page.text


def test_warnings_say_what_limits_the_numbers():
    few = "\n".join(warnings(sparse_content()))
    assert "only 3 sick images: each one moves a rate by 33.3 points" in few
    assert "no healthy image" in few
    assert "No patient is known" in few
    assert "Nobody looked for near-duplicates" in few
    content = rich_content()
    many = "\n".join(warnings(content))
    assert "1 pair of a shot and a test image look the same" in many
    assert "1 image could not be evaluated and is missing from every number: abnormal/broken.png" in many
    assert "Oracle numbers (Dice)" in many
    assert "No patient" not in many
    assert "wide" not in many
    shot = content.methods[0].shots[-1]
    for interval, words in (((0.6, 0.85), "is wide, 0.600 to 0.850"), ((0.5, 0.6), "not shown to be better")):
        estimates = dict(shot.estimates) | {"image_auroc": Estimate(0.7, None, interval, (0.7,))}
        method = replace(content.methods[0], shots=(replace(shot, estimates=estimates),))
        assert words in "\n".join(warnings(replace(content, methods=(method,))))


def test_a_floor_that_is_better_is_said_at_the_head():
    content = rich_content()
    first, other = content.methods[:2]
    assert "has the better" not in "\n".join(warnings(content))
    shot = other.shots[-1]
    estimates = dict(shot.estimates) | {"image_auroc": Estimate(0.999, None, None, (0.999,))}
    better = replace(other, shots=(replace(shot, estimates=estimates),))
    ours = first.shots[-1].estimates["image_auroc"].mean
    said = "\n".join(warnings(replace(content, methods=(first, better))))
    assert f"{other.name} has the better {metric_named('image_auroc').label}: 0.999 against {ours:.3f}" in said


def test_comparisons_show_what_is_tested(rich):
    rows = [cells for _, cells in rich[2].rows if cells[:2] == ["normal_bank", "intensity"]]
    assert rows[0][2:] == ["32", "image AUROC, seed 0", "DeLong", "200", "+0.231", "below 0.001"]
    assert rows[1][-1] == "0.031"
    assert "not defined: one draw" in rich[2].text
    assert (p_value(0.0), p_value(0.001), p_value(math.nan)) == ("below 0.001", "0.001", "not defined")


def test_examples_follow_the_rule():
    scores = [ImageScore(f"s{index}", True, float(score)) for index, score in enumerate((5, 3, 1, 4, 2))]
    scores += [ImageScore("h1", False, 0.5), ImageScore("h0", False, 0.5)]
    chosen = [(each.identity, each.position) for each in choose_examples(scores)]
    assert chosen == [
        ("s2", "lowest score of the abnormal images"),
        ("s4", "lower quartile score of the abnormal images"),
        ("s1", "median score of the abnormal images"),
        ("s3", "upper quartile score of the abnormal images"),
        ("s0", "highest score of the abnormal images"),
        ("h0", "lowest score of the normal images"),
        ("h1", "median score of the normal images"),
    ]
    assert choose_examples([]) == ()
    assert [each.identity for each in choose_examples(scores[::-1])] == [identity for identity, _ in chosen]


def test_examples_tell_truth_and_call(rich):
    content, _, page = rich
    assert len(content.examples) == 10
    assert sum(picture["src"].startswith("data:image/jpeg") for picture in page.all("img")) == 10
    example = content.examples[0]
    outcomes = {
        (abnormal, called): verdict(replace(example, abnormal=abnormal, called_abnormal=called)).split(": ")[1]
        for abnormal in (True, False)
        for called in (True, False)
    }
    assert outcomes == {
        (True, True): "found",
        (True, False): "missed",
        (False, True): "false alarm",
        (False, False): "right",
    }


def test_heatmaps_share_one_scale_that_ignores_what_was_not_seen(rich):
    example = rich[0].examples[0]
    low, high = (replace(example, anomaly_map=np.full((4, 4), value, np.float32)) for value in (2.0, 6.0))
    blind = replace(example, anomaly_map=np.full((4, 4), np.nan, np.float32))
    scale = heatmap_scale((low, high, blind))
    assert (scale.vmin, scale.vmax) == (2.0, 6.0)
    assert (heatmap_scale((blind,)).vmin, heatmap_scale((low,)).vmax) == (0.0, 3.0)


def test_all_text_for_people_who_cannot_see(rich):
    _, _, page = rich
    assert page.all("html")[0]["lang"] == "en"
    assert all(picture["alt"].strip() for picture in page.all("img"))
    assert all(cell.get("scope") in {"row", "col"} for cell in page.all("th"))
    assert len(set(METHOD_COLOURS)) == 7


def test_twelve_noisy_examples_leave_room_below_five_megabytes(tmp_path):
    rng = np.random.default_rng(3)
    content = sparse_content()
    noisy = tuple(
        replace(
            content.examples[0],
            identity=f"noise{index}",
            image=rng.random((512, 512), dtype=np.float32),
            anomaly_map=rng.random((512, 512), dtype=np.float32),
            lesion=None,
        )
        for index in range(12)
    )
    write_report(replace(content, examples=noisy), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 4_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_there_is_the_users_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(sparse_content(), tmp_path / "missing" / "report.html")


def test_the_mean_curve_keeps_steps():
    steps = Curve(np.array([0.0, 0.0, 0.5, 0.5, 1.0]), np.array([0.0, 0.4, 0.4, 1.0, 1.0]))
    x, mean, spread = mean_curve((steps,), 1.0)
    assert mean[x == 0.25] == pytest.approx(0.4)
    assert mean[x == 0.75] == pytest.approx(1.0)
    assert spread.max() == 0
    level = Curve(np.array([0.0, 1.0]), np.array([0.6, 0.6]))
    x, mean, spread = mean_curve((steps, level), 1.0)
    assert mean[x == 0.25] == pytest.approx(0.5)
    assert spread[x == 0.25] == pytest.approx(0.1 * math.sqrt(2))


def test_precision_is_a_staircase_and_sensitivity_stays_level():
    falling = Curve(np.array([1.0, 0.5, 0.0]), np.array([0.3, 0.8, 1.0]))
    x, mean, _ = mean_curve((falling,), 1.0, staircase=True)
    assert mean[[0, 50, 100, 101, 200]] == pytest.approx([1.0, 0.8, 0.8, 0.3, 0.3])
    short, long = Curve(np.array([0.0, 1.0]), np.array([0.2, 0.5])), Curve(np.array([0.0, 8.0]), np.array([0.2, 0.7]))
    x, mean, _ = mean_curve((short, long), 5.0)
    assert x[-1] == 5.0
    assert mean[-1] == pytest.approx((0.5 + 0.2 + 0.5 * 5 / 8) / 2)


def test_a_method_without_false_positives_has_a_line():
    x, mean, _ = mean_curve((Curve(np.zeros(3), np.array([0.0, 0.5, 0.9])),), 5.0)
    assert (x[0], x[-1]) == (0.0, 2.0)
    assert mean == pytest.approx(np.full(len(x), 0.9))


def test_the_same_content_gives_the_same_page():
    assert render_report(sparse_content()) == render_report(sparse_content())


def test_numbers_read_well():
    assert [number(0.12345), number(1234567.4, "count"), number(12.345, "pixels")] == ["0.123", "1,234,567", "12.3"]
