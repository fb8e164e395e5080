"""Showing results on a terminal; nothing else uses Rich."""
