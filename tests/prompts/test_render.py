"""From templates and texts to what is encoded."""

import pytest

from anomalabel.config import AnatomyConfig, DetectionRequest, PromptSettings, load_config
from anomalabel.errors import PromptError
from anomalabel.finding import PromptTexts
from anomalabel.prompts.render import render_prompts


def config(conditions=("tear", "cyst"), **prompts) -> AnatomyConfig:
    prompts = {"positive": ("Broken",), "negative": ("Whole",), **prompts}
    return AnatomyConfig(
        name="knee",
        title="Knee",
        anatomy="knee",
        modality="MRI",
        conditions=conditions,
        prompts=PromptSettings(**prompts),
    )


def test_templates_become_one_text_for_each_condition_after_the_fixed_texts():
    made = config(
        positive_templates=("{modality} of the {anatomy} with {condition}", "{condition}"),
        negative_templates=("{modality} of a normal {anatomy}",),
    )
    assert render_prompts(made) == PromptTexts(
        positive=("Broken", "MRI of the knee with tear", "MRI of the knee with cyst", "tear", "cyst"),
        negative=("Whole", "MRI of a normal knee"),
    )


def test_breast_ultrasound_of_the_shipped_configs():
    assert render_prompts(load_config("breast_ultrasound")) == PromptTexts(
        positive=(
            "ultrasound of the breast with breast tumor",
            "ultrasound of the breast with malignant mass",
            "ultrasound of the breast with benign nodule",
            "breast tumor",
            "malignant mass",
            "benign nodule",
        ),
        negative=("ultrasound of a normal breast", "Healthy breast tissue"),
    )


def test_a_request_replaces_a_side_whole_and_leaves_the_other():
    made = config(positive_templates=("{condition}",))
    request = DetectionRequest(positive=("{condition} of the {anatomy}", "swelling"))
    assert render_prompts(made, request) == PromptTexts(
        positive=("tear of the knee", "cyst of the knee", "swelling"), negative=("Whole",)
    )
    assert render_prompts(made, DetectionRequest(negative=("fine",))).negative == ("fine",)


def test_repeated_texts_count_once_and_space_around_is_cut():
    request = DetectionRequest(positive=(" tear ", "tear", "{condition}"))
    assert render_prompts(config(), request).positive == ("tear", "cyst")


@pytest.mark.parametrize("text", ["瘤", "Ödem der weißen Substanz", "tumour 🧠", "tear\nand cyst", "3"])
def test_texts_in_any_script_stay_as_they_are(text):
    assert render_prompts(config(), DetectionRequest(positive=(text,))).positive == (text,)


def test_doubled_braces_are_braces():
    assert render_prompts(config(), DetectionRequest(positive=("{{tear}}",))).positive == ("{tear}",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "positive prompt is empty"),
        (" \n\t", "positive prompt is empty"),
        ("\u200b", "positive prompt is empty"),
        ("...", "positive prompt is empty"),
        ("a {colour} spot", "unknown placeholder {colour}"),
        ("a {} spot", "unknown placeholder {}"),
        ("a {0} spot", "unknown placeholder {0}"),
        ("{anatomy.__class__}", "unknown placeholder {anatomy.__class__}"),
        ("{anatomy[0]}", "unknown placeholder"),
        ("a {spot", "unmatched braces"),
        ("a spot}", "unmatched braces"),
        ("{anatomy:>9999999999}", "placeholder with a format"),
        ("{anatomy:d}", "placeholder with a format"),
        ("{anatomy:{modality}}", "placeholder with a format"),
        ("{anatomy!r}", "placeholder with a format"),
        ("tear\udcff", "no valid text"),
    ],
)
def test_a_text_that_says_nothing_or_cannot_be_filled(text, complaint):
    with pytest.raises(PromptError) as raised:
        render_prompts(config(), DetectionRequest(positive=("tear", text)))
    assert complaint in str(raised.value)
    assert str(raised.value).encode("utf-8")


def test_an_empty_text_of_the_other_side_is_named_after_it():
    with pytest.raises(PromptError, match="negative prompt is empty"):
        render_prompts(config(), DetectionRequest(negative=("",)))


@pytest.mark.parametrize("request_values", [{"positive": ()}, {"negative": ()}])
def test_a_side_without_any_text(request_values):
    with pytest.raises(PromptError, match=f"no {next(iter(request_values))} prompt"):
        render_prompts(config(), DetectionRequest(**request_values))


def test_conditions_asked_for_but_not_listed():
    with pytest.raises(PromptError, match="knee lists no conditions"):
        render_prompts(config(conditions=()), DetectionRequest(positive=("{condition}",)))
