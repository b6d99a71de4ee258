"""The HTTP service, from the command line at the top to the domain's values at the bottom."""
