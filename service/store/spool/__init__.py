"""Keeps decisions and outcomes on disk while PostgreSQL is unavailable."""
