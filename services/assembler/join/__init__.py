"""Joins rows with results: a role of the assembler."""
