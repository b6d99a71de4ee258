"""Runs the commands of `router`, one file a command."""
