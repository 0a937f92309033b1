"""What few-shot localization scores with: patches on one grid, the head, and all parts together."""
