"""Tables, pictures and splits: everything between a data folder and numbers. Imports no TensorFlow."""
