"""One command from a teacher and a data set to the best small model: `supcrd distil`."""
