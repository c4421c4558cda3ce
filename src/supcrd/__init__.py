"""supcrd: contrastive representation distillation of image classifiers."""
