"""Texts for and against a disease."""
