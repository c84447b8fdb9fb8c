"""Many pictures: a list cut into parts, engines that score them, and a folder of Parquet. Imports no TensorFlow."""
