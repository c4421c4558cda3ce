"""One whole run, and models from files."""
