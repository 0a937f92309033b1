"""Attention of image-text models: the information bottleneck (M2IB) and CLAP."""
