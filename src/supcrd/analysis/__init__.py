"""What runs say when they are compared."""
