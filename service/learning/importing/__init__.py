"""Turns outcomes recorded elsewhere into decisions, outcomes and feedback of this router."""
