"""Takes files in over HTTP: a role of ingest."""
