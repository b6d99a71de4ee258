"""Clients we did not write, against the running service: real packages, each driven by a small program.

A program does what `features.py` lists, one feature after the other, and prints what its package made of the
answers. All of them have to see the same.
"""
