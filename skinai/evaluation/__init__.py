"""From tables of predictions to figures with intervals. Imports no TensorFlow and never runs a model."""
