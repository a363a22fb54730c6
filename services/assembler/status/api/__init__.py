"""The JSON calls, the websocket, downloads and metrics."""
