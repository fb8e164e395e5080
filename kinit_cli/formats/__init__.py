"""File formats: how tensors are laid out in files, and how files are read."""
