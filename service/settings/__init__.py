"""Reads the knobs once, from YAML and the environment, and checks them."""
