"""Kernels that Numba compiles: the arithmetic of the value stream and of statistics, made fast.

Each one gives the bits of a plain NumPy implementation elsewhere in this package, which is the
reference. Importing the modules below imports Numba, so only what has decided to use it does.
"""
