"""``python -m scaimcp.scaivault``: the command ``scaivault-mcp``."""

from __future__ import annotations

import sys

from scaimcp.vaultserver.command import main

if __name__ == "__main__":
    sys.exit(main())
