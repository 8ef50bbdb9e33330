"""``python -m diag``: the same as the console script ``diag``."""

from diag.cli import main

if __name__ == "__main__":
    main()
