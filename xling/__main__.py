"""``python -m xling``: the same as the console script ``xling``."""

from xling.cli import main

if __name__ == "__main__":
    main()
