"""Changes of `mutate.py` that make no difference, each with the reason: looked at by hand."""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
