"""Measures kinit against what it promises, and beside the libraries that people use.

`make bench` does all of it; `python -m benchmarks --only PART --rounds N` a part, `--quick` a
little of it, `--help` tells the rest. benchmarks/results.md has what was found last.
"""
