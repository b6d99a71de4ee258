"""Writes and reads decisions, attempts, outcomes and shadow answers."""
