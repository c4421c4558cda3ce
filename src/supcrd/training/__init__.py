"""One loop, and what it optimises."""
