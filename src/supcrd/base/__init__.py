"""Nothing of the field: files, randomness, processes, the device."""
