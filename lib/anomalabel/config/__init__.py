"""Settings: one YAML file per anatomy and modality, and what a single request may change.

Every number that a user can set lives here with its default; unknown keys are errors.
"""

from anomalabel.config.anatomy import (
    AnatomyConfig,
    FindingSettings,
    PromptSettings,
    ReviewSettings,
    load_config,
    shipped_config_names,
)
from anomalabel.config.attention import AttentionSettings, Bottleneck
from anomalabel.config.base import Settings, describe_validation, parse_settings
from anomalabel.config.few_shot import (
    AugmentationSettings,
    ElasticDeformation,
    FewShotSettings,
    LearnablePrompts,
    Suppression,
    TaskShares,
    TokenRefinement,
    Training,
    Uncertainty,
)
from anomalabel.config.normal_bank import NormalBankSettings
from anomalabel.config.preprocessing import (
    Clahe,
    CtWindow,
    Equalisation,
    ForegroundSettings,
    HistogramEqualisation,
    IntensityScaling,
    PercentileWindow,
    Planes,
    PreprocessingSettings,
    SliceSettings,
    WaveletDenoising,
    ZScore,
)
from anomalabel.config.reconstruction import (
    ErrorKinds,
    GradientSimilarity,
    Mosaic,
    ReconstructionLosses,
    ReconstructionSettings,
    ReconstructionTraining,
    Saliency,
)
from anomalabel.config.request import BIOMEDCLIP, EMBEDDED, DetectionRequest, ExtraMap, Method

__all__ = [
    "BIOMEDCLIP",
    "EMBEDDED",
    "AnatomyConfig",
    "AttentionSettings",
    "AugmentationSettings",
    "Bottleneck",
    "Clahe",
    "CtWindow",
    "DetectionRequest",
    "ElasticDeformation",
    "Equalisation",
    "ErrorKinds",
    "ExtraMap",
    "FewShotSettings",
    "FindingSettings",
    "ForegroundSettings",
    "GradientSimilarity",
    "HistogramEqualisation",
    "IntensityScaling",
    "LearnablePrompts",
    "Method",
    "Mosaic",
    "NormalBankSettings",
    "PercentileWindow",
    "Planes",
    "PreprocessingSettings",
    "PromptSettings",
    "ReconstructionLosses",
    "ReconstructionSettings",
    "ReconstructionTraining",
    "ReviewSettings",
    "Saliency",
    "Settings",
    "SliceSettings",
    "Suppression",
    "TaskShares",
    "TokenRefinement",
    "Training",
    "Uncertainty",
    "WaveletDenoising",
    "ZScore",
    "describe_validation",
    "load_config",
    "parse_settings",
    "shipped_config_names",
]
