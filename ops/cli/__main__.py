"""Entry: `python -m ops.cli`, which is what the launcher `earnest` becomes."""

from __future__ import annotations

import sys

from ops.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
