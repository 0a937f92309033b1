"""Pictures that explain a result."""
