"""Keeps answers, and finds the one that an earlier request like this got."""
