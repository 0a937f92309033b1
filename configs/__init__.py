"""The shipped settings, one YAML file per anatomy and modality."""
