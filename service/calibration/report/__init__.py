"""Compares the models by their graded answers, and writes the comparison as text, JSON and HTML."""
