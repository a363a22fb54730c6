"""Decides which phones are unknown and looks each up once, at the pace that the API allows."""
