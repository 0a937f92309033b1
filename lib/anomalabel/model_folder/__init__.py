"""What training writes and a detector loads: weights with their description, and curves."""

from anomalabel.model_folder.description import (
    MODEL_SCHEMA,
    HealthyImage,
    TrainedModel,
    installed_versions,
    parse_description,
)
from anomalabel.model_folder.folder import (
    CURVES_FILE,
    DESCRIPTION_FILE,
    PREVIOUS_FOLDER,
    WEIGHTS_FILE,
    check_model_folder,
    is_trained_folder,
    read_description,
    read_model_folder,
    require_encoder,
    write_model_folder,
)

__all__ = [
    "CURVES_FILE",
    "DESCRIPTION_FILE",
    "MODEL_SCHEMA",
    "PREVIOUS_FOLDER",
    "WEIGHTS_FILE",
    "HealthyImage",
    "TrainedModel",
    "check_model_folder",
    "installed_versions",
    "is_trained_folder",
    "parse_description",
    "read_description",
    "read_model_folder",
    "require_encoder",
    "write_model_folder",
]
