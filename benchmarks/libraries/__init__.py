"""How each library fills a tensor, for `benchmarks.fill_worker`; each in its own environment.

A module has `versions()`, and `make(what, variant, shape, n_threads)`, which prepares a fill and
gives a function that does it, complete, and returns the tensor as NumPy can read it.
"""
