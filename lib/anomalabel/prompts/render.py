"""Fills templates and merges what a config and a request say into the texts that are encoded.

This is f_gen(A, C, M) of few_shot_localization.txt eq. 3: a config's anatomy, conditions and modality in its templates.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from string import Formatter

from anomalabel.config import AnatomyConfig, DetectionRequest
from anomalabel.errors import PromptError
from anomalabel.finding import PromptTexts
from anomalabel.prompts.ontology import Ontology, synonyms_of

PLACEHOLDERS = ("condition", "anatomy", "modality")


def render_prompts(
    config: AnatomyConfig, request: DetectionRequest | None = None, ontology: Ontology | None = None
) -> PromptTexts:
    """The texts for and against disease, an ensemble each.

    A request's list replaces the config's fixed texts and templates of that side whole. A text with {condition}
    becomes one text for each condition of the config; {anatomy} and {modality} are filled in place. With
    `prompts.synonyms` the same follows for that many synonyms of each condition, in the ontology's order.

    Args:
        ontology: where synonyms come from; None: what is installed. Not asked where `prompts.synonyms` is 0.

    Raises:
        PromptError: a side has no text, a text holds no word, or it names an unknown placeholder.
        OntologyError: the installed ontology cannot be read.
    """
    settings = config.prompts
    positive: Sequence[str] = (*settings.positive, *settings.positive_templates)
    negative: Sequence[str] = (*settings.negative, *settings.negative_templates)
    if request is not None and request.positive is not None:
        positive = request.positive
    if request is not None and request.negative is not None:
        negative = request.negative
    if settings.synonyms and ontology is None:
        ontology = Ontology.installed()
    return PromptTexts(
        positive=_at_least_one(fill_templates(positive, config, "positive", ontology), "positive"),
        negative=_at_least_one(fill_templates(negative, config, "negative", ontology), "negative"),
    )


def fill_templates(
    templates: Sequence[str], config: AnatomyConfig, side: str, ontology: Ontology | None
) -> tuple[str, ...]:
    """All templates filled with the config's conditions, then with their synonyms; each text once.

    Args:
        side: "positive" or "negative", for messages.
        ontology: where synonyms come from; None for none.

    Raises:
        PromptError: a text holds no word, or it names an unknown placeholder.
    """
    filled = [text for template in templates for text in _fill(template, config, side, config.conditions)]
    most = config.prompts.synonyms
    if most and ontology is not None:
        synonyms = [name for term in config.conditions for name in synonyms_of(term, ontology, most)]
        filled += [text for template in templates for text in _fill(template, config, side, synonyms)]
    return tuple(dict.fromkeys(filled))


def _at_least_one(texts: tuple[str, ...], side: str) -> tuple[str, ...]:
    if not texts:
        raise PromptError(f"There is no {side} prompt.", "Give at least one text.")
    return texts


def _fill(template: str, config: AnatomyConfig, side: str, conditions: Sequence[str]) -> list[str]:
    if not any(letter.isalnum() for letter in template):
        raise PromptError(f"A {side} prompt is empty.", "Write what the model shall look for, or leave the prompt out.")
    if any(unicodedata.category(letter) == "Cs" for letter in template):
        raise PromptError(f"The {side} prompt '{template}' is no valid text.", "Write it in UTF-8.")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise PromptError(f"The {side} prompt '{template}' has unmatched braces.", "Write {{ for a brace.") from error
    names = {name for _, name, _, _ in parsed if name is not None}
    unknown = sorted(names - set(PLACEHOLDERS))
    if unknown:
        raise PromptError(
            f"The {side} prompt '{template}' names the unknown placeholder {{{unknown[0]}}}.",
            "Known are {condition}, {anatomy} and {modality}.",
        )
    if any(layout or conversion for _, _, layout, conversion in parsed):
        raise PromptError(
            f"The {side} prompt '{template}' has a placeholder with a format.", "Write the name alone: {condition}."
        )
    if "condition" in names and not config.conditions:
        raise PromptError(
            f"The {side} prompt '{template}' asks for {{condition}}, but config {config.name} lists no conditions.",
            "Add conditions to the config or write the disease out.",
        )
    return [
        template.format(condition=condition, anatomy=config.anatomy, modality=config.modality).strip()
        for condition in (conditions if "condition" in names else ("",))
    ]
