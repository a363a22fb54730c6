"""The HTTP side of the status role: JSON calls, websocket, downloads, pages; it decides nothing about uploads."""
