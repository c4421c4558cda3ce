"""What a student learns: terms, which declare what they read, and their weighted sum."""
