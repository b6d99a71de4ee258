"""The rivals of the learner. They get the same information, unless their docstrings say otherwise.

A `Rival` is a function of a stream, the price of dollars and a seed. It returns the chosen arms.
"""
