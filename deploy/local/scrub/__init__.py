"""The command `scrub`: sends a file to a stack, shows its progress and writes the result beside it."""

from deploy.local.scrub.command import add_arguments, run

__all__ = ["add_arguments", "run"]
