"""Standard texts of few-shot localization, and synonyms in the ensemble."""

import pytest

from anomalabel.config import AnatomyConfig, DetectionRequest, PromptSettings, load_config, shipped_config_names
from anomalabel.finding import PromptTexts
from anomalabel.prompts.ontology import Ontology
from anomalabel.prompts.render import render_prompts
from anomalabel.prompts.templates import FEW_SHOT_TEMPLATES, few_shot_prompts

SHIPPED = Ontology.shipped()


def config(conditions=("cyst", "hematoma"), **prompts) -> AnatomyConfig:
    prompts = {"positive": ("Broken",), "negative": ("Whole",), **prompts}
    return AnatomyConfig(
        name="knee",
        title="Knee",
        anatomy="knee",
        modality="MRI",
        conditions=conditions,
        prompts=PromptSettings(**prompts),
    )


def test_the_configs_own_texts_then_the_standard_ones():
    assert few_shot_prompts(config(), SHIPPED) == PromptTexts(
        positive=(
            *("Broken", "Signs of cyst", "Signs of hematoma", "Abnormal knee appearance"),
            *("MRI of the knee with cyst", "MRI of the knee with hematoma"),
        ),
        negative=(
            *("Whole", "No signs of cyst", "No signs of hematoma", "Normal knee appearance"),
            "MRI of a normal knee",
        ),
    )


def test_synonyms_follow_all_other_texts():
    made = few_shot_prompts(config(positive_templates=("{condition}",), synonyms=1), SHIPPED)
    assert made.positive == (
        *("Broken", "cyst", "hematoma"),
        *("Signs of cyst", "Signs of hematoma", "Abnormal knee appearance"),
        *("MRI of the knee with cyst", "MRI of the knee with hematoma"),
        *("haematoma", "Signs of haematoma", "MRI of the knee with haematoma"),
    )
    assert made.negative[-1] == "No signs of haematoma"


def test_a_text_of_the_config_that_is_a_standard_one_stands_once():
    made = few_shot_prompts(config(negative=("Normal knee appearance",)), SHIPPED)
    assert made.negative.count("Normal knee appearance") == 1
    assert made.negative[0] == "Normal knee appearance"


def test_a_side_of_the_request_is_taken_as_it_is():
    made = few_shot_prompts(config(), SHIPPED, DetectionRequest(positive=("torn {condition}",)))
    assert made.positive == ("torn cyst", "torn hematoma")
    assert made.negative == few_shot_prompts(config(), SHIPPED).negative


def test_without_conditions_only_the_templates_that_need_none():
    made = few_shot_prompts(config(conditions=()), SHIPPED)
    assert made.positive == ("Broken", "Abnormal knee appearance")
    assert made.negative == ("Whole", "Normal knee appearance", "MRI of a normal knee")


def test_the_templates_that_the_paper_names_are_there():
    assert FEW_SHOT_TEMPLATES.negative[:2] == ("No signs of {condition}", "Normal {anatomy} appearance")


@pytest.mark.parametrize("name", shipped_config_names())
def test_every_shipped_config_has_texts_for_both_sides_without_repetition(name):
    made = few_shot_prompts(load_config(name), SHIPPED)
    own = render_prompts(load_config(name))
    for texts, first in ((made.positive, own.positive), (made.negative, own.negative)):
        assert texts[: len(first)] == first
        assert len(texts) > len(first)
        assert len(set(texts)) == len(texts)


CLAP_TEXTS = {
    "brain_mri": (("Glioma, Astrocytoma, Oligodendroglioma",), ("Normal, Healthy gray matter",)),
    "breast_ultrasound": (
        (
            *("ultrasound of the breast with breast tumor", "ultrasound of the breast with malignant mass"),
            *("ultrasound of the breast with benign nodule", "breast tumor", "malignant mass", "benign nodule"),
        ),
        ("ultrasound of a normal breast", "Healthy breast tissue"),
    ),
    "chest_xray": (("Consolidation, Fibrosis, Atelectasis",), ("Healthy, Clear fields, Normal",)),
    "liver_ct": (("Malignant cells, Dysplasia, Hyperplasia",), ("Normal, Healthy, Benign",)),
    "lymph_node_histology": (("Metastatic carcinoma, Tumor metastasis",), ("Normal, Healthy tissue",)),
    "retinal_oct": (("Retinal fluid, Drusen, Retinal detachment",), ("Normal, Healthy, Clear",)),
}


@pytest.mark.parametrize("name", shipped_config_names())
def test_what_clap_is_given_stays_as_published(name, monkeypatch):
    monkeypatch.setattr(Ontology, "installed", lambda: pytest.fail("no synonyms are asked for"))
    made = render_prompts(load_config(name))
    assert (made.positive, made.negative) == CLAP_TEXTS[name]


def test_rendering_with_synonyms():
    asked = config(positive_templates=("{condition}", "{modality} with {condition}"), synonyms=2)
    assert render_prompts(asked, ontology=SHIPPED) == PromptTexts(
        positive=(
            *("Broken", "cyst", "hematoma", "MRI with cyst", "MRI with hematoma"),
            *("haematoma", "MRI with haematoma"),
        ),
        negative=("Whole",),
    )


def test_synonyms_come_from_what_is_installed_when_no_ontology_is_given(monkeypatch):
    monkeypatch.setattr(Ontology, "installed", Ontology.shipped)
    asked = config(("breast tumor",), positive=(), positive_templates=("{condition}",), synonyms=2)
    assert render_prompts(asked).positive == ("breast tumor", "breast neoplasm", "breast tumour")


def test_a_synonym_that_is_itself_a_condition_stands_once():
    asked = config(("tumor", "neoplasm"), positive=("{condition}",), synonyms=3)
    assert render_prompts(asked, ontology=SHIPPED).positive == ("tumor", "neoplasm", "tumour")


def test_a_config_may_do_without_the_standard_texts():
    plain = config()
    own = plain.model_copy(update={"few_shot": plain.few_shot.model_copy(update={"standard_templates": False})})
    assert few_shot_prompts(own, SHIPPED) == PromptTexts(positive=("Broken",), negative=("Whole",))
