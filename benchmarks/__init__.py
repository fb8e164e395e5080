"""Measures kinit against what it promises: `make bench`, or `python -m benchmarks`."""
