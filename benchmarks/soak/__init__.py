"""A router under a steady load, with a fault every minute."""
