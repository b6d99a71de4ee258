"""Chooses one arm for a query: recall, beliefs, probabilities, one draw."""
