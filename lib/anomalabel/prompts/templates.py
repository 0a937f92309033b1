"""Standard texts of few-shot localization, for health and disease (few_shot_localization.txt section 4.2.1, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from anomalabel.config import AnatomyConfig, DetectionRequest
from anomalabel.finding import PromptTexts
from anomalabel.prompts.ontology import Ontology
from anomalabel.prompts.render import fill_templates, render_prompts


@dataclass(frozen=True)
class PromptTemplates:
    """Templates with {condition}, {anatomy} and {modality}: `positive` names disease, `negative` health."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


FEW_SHOT_TEMPLATES = PromptTemplates(
    positive=(
        "Signs of {condition}",
        "Abnormal {anatomy} appearance",
        "{modality} of the {anatomy} with {condition}",
    ),
    negative=(
        "No signs of {condition}",
        "Normal {anatomy} appearance",
        "{modality} of a normal {anatomy}",
    ),
)
"""The two templates for health that the paper names, one more, and the counterpart of each for disease."""


def few_shot_prompts(config: AnatomyConfig, ontology: Ontology, request: DetectionRequest | None = None) -> PromptTexts:
    """The config's own texts, then the standard templates, then both with synonyms; each text once.

    A side that the request gives is taken as it was written, without standard templates. Templates with {condition}
    are left out where the config lists none. How many synonyms: `prompts.synonyms` of the config; the config's
    `few_shot.standard_templates` turns the standard ones off.

    Known weakness: "No signs of {condition}" names the disease. A text tower that ignores negation, as most towers
    trained on image captions do, puts it close to "Signs of {condition}", and the two sides move together.

    Raises:
        PromptError: as `render_prompts`.
    """
    plain = config.model_copy(update={"prompts": config.prompts.model_copy(update={"synonyms": 0})})
    own, widened = render_prompts(plain, request), render_prompts(config, request, ontology)

    def texts(side: Literal["positive", "negative"]) -> tuple[str, ...]:
        asked = request is not None and getattr(request, side) is not None
        wanted = config.few_shot.standard_templates and not asked
        standard = _applicable(getattr(FEW_SHOT_TEMPLATES, side), config) if wanted else ()
        ensembles = (
            getattr(own, side),
            fill_templates(standard, plain, side, None),
            getattr(widened, side),
            fill_templates(standard, config, side, ontology),
        )
        return tuple(dict.fromkeys(chain.from_iterable(ensembles)))

    return PromptTexts(positive=texts("positive"), negative=texts("negative"))


def _applicable(templates: tuple[str, ...], config: AnatomyConfig) -> tuple[str, ...]:
    return tuple(template for template in templates if config.conditions or "{condition}" not in template)
