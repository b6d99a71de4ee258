"""Learns: pure functions of arrays, from evidence to probabilities over arms."""
