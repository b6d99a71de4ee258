"""Keeps the truth in PostgreSQL: decisions, outcomes, feedback, evidence, arms."""
