"""One paper: its figures, its experiments, its file layout."""
