"""Faults put in a run's way, and what is left of its output: see `scripts/inject_faults.py`."""
