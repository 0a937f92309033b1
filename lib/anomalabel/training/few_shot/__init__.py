"""Learns few-shot localization from the views of a few healthy images."""
