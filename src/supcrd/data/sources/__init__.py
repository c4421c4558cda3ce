"""A file for each kind of data source."""
