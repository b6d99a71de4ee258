"""Optimises prompts offline, with DSPy, from the requests and ratings of the log."""
