"""What a student learns: terms, each of which says what it reads, and their weighted sum."""
