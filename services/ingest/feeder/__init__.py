"""Detects the format of stored files and publishes their rows: a role of ingest."""
