"""`python -m supcrd` is the `supcrd` command."""

from supcrd.cli import main

if __name__ == "__main__":
    main()
