"""Measures what the README claims, on the real processes, judged by the simulator's log and the HTTP interface."""
