"""A run and the Hugging Face hub: the card that people read (`page`), push and fetch (`repository`)."""
