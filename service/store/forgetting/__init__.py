"""Deletes requests with all that names them, takes back what they taught, and proves it."""
