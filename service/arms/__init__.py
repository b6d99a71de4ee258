"""Knows the arms: which exist, what each can do and costs, which are cooling down."""
