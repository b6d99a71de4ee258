"""Defines the values that all rooms exchange, and the ports that adapters implement."""
