"""The three services and the process shell they run in."""
