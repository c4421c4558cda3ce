"""What runs say, beside one another."""
