"""Turns the configurations of other routers into this one's."""
