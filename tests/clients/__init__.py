"""Clients of other projects against the running service: real packages, each driven by a small program.

A program tries the features that `features.py` lists, one after the other, and prints what its package
returned. Every client must see the same.
"""
