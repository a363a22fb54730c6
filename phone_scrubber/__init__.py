"""The installed package: a wheel holds the folders `schemas`, `services` and `deploy` inside it (docs/adr/0009)."""
