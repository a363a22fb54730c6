"""The JSON endpoints, the websocket, downloads and metrics."""
