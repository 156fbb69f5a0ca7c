"""Making faces: datasets, alignment, the published systems, training and generation."""
