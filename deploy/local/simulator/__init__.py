"""A stand-in for the paid lookup API, with its limit, its errors and its delays."""

from deploy.local.simulator.server import main

__all__ = ["main"]
