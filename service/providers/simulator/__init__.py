"""Stands in for a provider when no key is set."""
