"""Anthropic Messages: requests, answers, events, errors."""
