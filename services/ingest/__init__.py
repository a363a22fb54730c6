"""Takes files in, finds out what they are and publishes their rows."""
