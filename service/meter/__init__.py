"""Holds what requests may use of the limits of their callers and models, and settles what they used."""
