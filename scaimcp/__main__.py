"""``python -m scaimcp``."""

from __future__ import annotations

import sys

from scaimcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
