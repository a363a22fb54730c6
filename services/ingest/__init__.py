"""Receives files, detects their format and publishes their rows."""
