"""The methods of the field on the pairs of the field, at one budget, beside what was published of them."""
