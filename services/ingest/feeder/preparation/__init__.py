"""Prepares the rows of a stored file for publishing, in a child process."""
