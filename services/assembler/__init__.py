"""Joins rows with results in SQL and serves the outcome: pages, JSON, websocket, downloads."""
