"""Training: pictures and a split in, a model folder out. The only room besides `model` that imports TensorFlow."""
