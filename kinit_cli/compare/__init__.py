"""Holding weights files against specs, against each other and against locks."""
