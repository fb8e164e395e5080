"""Run the command line: ``python -m kinit_cli``."""

from __future__ import annotations

from kinit_cli.cli.main import main

if __name__ == "__main__":
    main()
