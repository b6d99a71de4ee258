"""Connects to PostgreSQL: embedded server, pool, migrations, notifications."""
