"""Plays recorded outcomes against a running router: upstream, client, report."""
