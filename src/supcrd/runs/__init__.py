"""What a run leaves behind: its folder, read and written."""
