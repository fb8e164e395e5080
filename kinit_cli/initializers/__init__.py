"""Keras's initializers: names, arguments, defaults, and what they draw for a shape."""
