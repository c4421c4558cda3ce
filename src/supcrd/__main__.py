"""`python -m supcrd` is the `supcrd` command."""

from supcrd.cli import main

main()
