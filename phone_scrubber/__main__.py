"""Starts the command `phone-scrubber`, from a wheel and from a checkout.

A wheel holds `schemas`, `services` and `deploy` in this package, so that their common names clash with nobody's. Only
this process and its children find them as top-level packages.
"""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def code_folder(package: Path = _PACKAGE) -> Path:
    """The folder that holds `schemas`, `services` and `deploy`: the package in a wheel, its parent in a checkout."""
    return package if (package / "schemas").is_dir() else package.parent


def main() -> int:
    """Runs the command line; returns its exit code."""
    sys.path.insert(0, str(code_folder()))
    from deploy.local.cli import main as run_command

    return run_command(program="phone-scrubber")


if __name__ == "__main__":
    sys.exit(main())
