"""Decides which rows need a call, on Faust: a role of lookup."""
