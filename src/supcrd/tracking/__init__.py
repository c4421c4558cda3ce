"""Trackers that show runs beside one another: TensorBoard, Weights & Biases, MLflow; see `tracker.Tracker`."""
