"""Receives files over HTTP: a role of ingest."""
