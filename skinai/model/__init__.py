"""Keras architectures, and the model folder in which training and serving meet."""
