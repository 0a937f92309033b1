"""Fills templates and merges what a config and a request say into the texts that are encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from string import Formatter

from anomalabel.config import AnatomyConfig, DetectionRequest
from anomalabel.errors import PromptError
from anomalabel.finding import PromptTexts

PLACEHOLDERS = ("condition", "anatomy", "modality")


def render_prompts(config: AnatomyConfig, request: DetectionRequest | None = None) -> PromptTexts:
    """The texts for and against disease, an ensemble each.

    A request's list replaces the config's fixed texts and templates of that side whole. A text with {condition}
    becomes one text for each condition of the config; {anatomy} and {modality} are filled in place.

    Raises:
        PromptError: a side has no text, a text holds no word, or it names an unknown placeholder.
    """
    settings = config.prompts
    positive: Sequence[str] = (*settings.positive, *settings.positive_templates)
    negative: Sequence[str] = (*settings.negative, *settings.negative_templates)
    if request is not None and request.positive is not None:
        positive = request.positive
    if request is not None and request.negative is not None:
        negative = request.negative
    return PromptTexts(
        positive=_fill_all(positive, config, "positive"),
        negative=_fill_all(negative, config, "negative"),
    )


def _fill_all(texts: Sequence[str], config: AnatomyConfig, side: str) -> tuple[str, ...]:
    filled = [text for template in texts for text in _fill(template, config, side)]
    if not filled:
        raise PromptError(f"There is no {side} prompt.", "Give at least one text.")
    return tuple(dict.fromkeys(filled))


def _fill(template: str, config: AnatomyConfig, side: str) -> list[str]:
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
    conditions = config.conditions if "condition" in names else ("",)
    return [
        template.format(condition=condition, anatomy=config.anatomy, modality=config.modality).strip()
        for condition in conditions
    ]
