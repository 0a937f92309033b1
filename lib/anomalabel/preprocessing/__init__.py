"""From source intensities to the 2-D images a model sees, and back onto the source grid."""
