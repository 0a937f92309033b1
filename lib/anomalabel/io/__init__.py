"""Readers and writers of medical images and results."""
