"""Judges other settings by the log of decisions, and savings by the holdout."""
