"""Training: losses, captions, planted anomalies, loops."""
