"""Measuring tensors, and testing what was measured against what they are drawn from."""
