"""Serves pages, JSON, websocket and downloads: a role of the assembler."""
