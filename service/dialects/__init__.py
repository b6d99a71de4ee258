"""Translates between the formats on the wire and the domain's values."""
