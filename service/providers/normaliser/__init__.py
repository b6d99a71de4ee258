"""Gives whole and streamed answers of every provider the one form that the rest of the router relies on."""
