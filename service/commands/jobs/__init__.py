"""What commands run that takes long to import: the server, and work on the stores outside requests."""
