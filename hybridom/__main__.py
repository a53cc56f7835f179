"""`python -m hybridom`: the same as the `hybridom` command."""

import sys

from hybridom.cli import main

if __name__ == "__main__":
    sys.exit(main())
