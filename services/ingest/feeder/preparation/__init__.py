"""Reads a stored file once, in a child process, into rows that are ready to be published."""
