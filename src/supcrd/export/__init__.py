"""From a model to a file that is deployed, and back: written, checked, read."""
