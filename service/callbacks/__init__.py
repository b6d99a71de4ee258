"""Calls functions of the operator with a report of each request, without delaying it."""
