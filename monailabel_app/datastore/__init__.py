"""The studies folder."""
