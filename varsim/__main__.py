"""Run the command line: `python -m varsim` is the same program as `varsim`."""

from __future__ import annotations

from varsim.cli.entry import main

if __name__ == "__main__":
    main()
