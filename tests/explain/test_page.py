"""The page says what the result says, and loads nothing from anywhere."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import nibabel
import numpy as np
import pytest

from anomalabel.explain.page import Fact, PageContent, nifti_base64, render_page
from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.volume import Volume

AFFINE = np.array([[-1.5, 0.1, 0, 10], [0.1, 2.0, 0.2, -20], [0, -0.2, 3.0, 5], [0, 0, 0, 1]])


class Elements(HTMLParser):
    """Collects tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in {"script", "style"}:
            self.words += data


def finding() -> Finding:
    return Finding(
        id="7c0c2a3e-7c0e-4f53-8d43-1d3cf5dd5d6f",
        label="Glioma <b>",
        score=0.875,
        mean_score=0.5,
        uncertainty=None,
        volume_mm3=1234.4,
        peak_index=(1, 2, 3),
        index_min=(0, 1, 2),
        index_max=(2, 3, 3),
        center_ras=(1.0, -2.0, 3.0),
        center_lps=(-1.0, 2.0, 3.0),
        size_mm=(4.0, 5.0, 6.0),
        axes_ras=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )


@pytest.fixture(scope="module")
def page() -> str:
    array = np.linspace(0, 10, 120, dtype=np.float32).reshape(4, 5, 6)
    anomaly_map = np.full(array.shape, np.nan, dtype=np.float32)
    anomaly_map[1:, :, :] = 0.125
    anomaly_map[3, 2, 1] = 0.875
    report = FindingsReport(
        image="head",
        method="clap",
        model=ModelIdentity(name="embedded", weights_sha256="abcdef0123456789"),
        config="brain_mri",
        prompts=PromptTexts(positive=("glioma",), negative=("healthy",)),
        image_score=0.875,
        calibrated=False,
        threshold=Threshold(value=0.25, rule="mean + 0.674 sd"),
        prompt_specificity=0.1,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(grid=(6, 5, 4), min=0.125, max=0.875),
        findings=(finding(),),
        warnings=("The map hardly depends on its prompt.",),
    )
    return render_page(
        PageContent(
            title="A title",
            verdict="No: the peak lies 12 mm away.",
            success=False,
            steps=("First step.", "Second <step>."),
            facts=(Fact("AUROC", "0.612"),),
            picture_png=b"\x89PNG picture",
            report=report,
            volume=Volume(array, AFFINE),
            anomaly_map=anomaly_map,
            truth=anomaly_map == 0.875,
        )
    )


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    return parser


def embedded(page: str, name: str) -> nibabel.Nifti1Image:
    encoded = re.search(rf'\b{name}: "([A-Za-z0-9+/=]+)"', page).group(1)
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(encoded)))


def test_verdict_warnings_steps_facts_and_findings_are_told(elements: Elements) -> None:
    for text in (
        "A title",
        "No: the peak lies 12 mm away.",
        "The map hardly depends on its prompt.",
        "Second <step>.",
        "0.612",
        "Not for clinical use",
        "Glioma <b>",
        "0.875",
        "1234",
        "1, -2, 3",
        "4 \u00d7 5 \u00d7 6",
        "mean + 0.674 sd",
        "not calibrated",
    ):
        assert text in elements.words
    assert ("p", {"class": "verdict"}) in elements.tags


def test_nothing_is_loaded_from_a_network_or_a_file(elements: Elements) -> None:
    for _, attributes in elements.tags:
        for key in ("src", "href", "data", "action", "poster", "srcset"):
            assert (attributes.get(key) or "data:").startswith("data:")
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy


def test_scripts_end_where_they_should(elements: Elements, page: str) -> None:
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert page.count("</script>") == 2
    assert [a["id"] for tag, a in elements.tags if tag == "canvas"] == ["found", "planted"]


def test_the_volumes_inside_are_the_results_own(page: str) -> None:
    heatmap, truth = embedded(page, "heatmap"), embedded(page, "truth")
    np.testing.assert_allclose(heatmap.affine, AFFINE, atol=1e-6)
    assert np.unravel_index(heatmap.get_fdata().argmax(), heatmap.shape) == (1, 2, 3)
    assert heatmap.get_fdata().max() == pytest.approx(0.875)
    assert np.count_nonzero(truth.get_fdata() > 0.5) == 1
    assert "const low = 0.25;" in page
    assert "const high = 0.875;" in page
    crosshair = json.loads(re.search(r"const start = (\[.*?\]);", page).group(1))
    np.testing.assert_allclose(crosshair, (AFFINE @ [1, 2, 3, 1])[:3])


def test_encoding_keeps_values_to_half_a_step_and_puts_unseen_lowest() -> None:
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    array[0, 0, 0] = np.nan
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(nifti_base64(array, AFFINE))))
    decoded = image.get_fdata().T
    step = (np.nanmax(array) - np.nanmin(array)) / 255
    assert decoded[0, 0, 0] == pytest.approx(np.nanmin(array), abs=1e-6)
    assert np.nanmax(np.abs(decoded - array)) <= step / 2 + 1e-6


def test_a_map_without_a_value_above_the_threshold_still_renders() -> None:
    flat = np.zeros((2, 2, 2), dtype=np.float32)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(nifti_base64(flat, np.eye(4)))))
    assert (image.get_fdata() == 0).all()
