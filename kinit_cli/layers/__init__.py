"""Keras's layer types: which weights each has, with shapes, dtypes and default initializers."""
