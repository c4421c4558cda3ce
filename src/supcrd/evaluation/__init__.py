"""A model and a split -> numbers."""
