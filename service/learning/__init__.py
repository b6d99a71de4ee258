"""Turns scores and implicit signals into rewards, evidence and memories."""
