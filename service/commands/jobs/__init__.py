"""Does the work of the commands that open stores: serve, import, rebuild and evaluate."""
