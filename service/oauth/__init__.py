"""Logs in to providers by OAuth, and keeps their tokens encrypted and fresh."""
