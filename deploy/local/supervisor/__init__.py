"""Keeps the processes of a stack running: which there are, how each is started, watched, restarted and stopped."""
