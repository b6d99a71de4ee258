"""Appends feedback events, and keeps sums, histories and experiences in step with them."""
