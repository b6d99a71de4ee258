"""What the learner is compared with. A rival sees what the learner sees, or says so.

A `Rival` takes a stream, the price of dollars in the utility and a seed, and gives the chosen arms.
"""
