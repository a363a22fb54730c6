"""Finds out what stored files are and publishes their rows: a role of ingest."""
