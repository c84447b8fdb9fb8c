"""From a picture to a `Prediction`, with LiteRT and without TensorFlow."""
