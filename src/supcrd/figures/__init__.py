"""Figures from run folders: no model and no GPU is needed, only what `supcrd train` left there."""
