"""Recorded outcomes as a stream: an upstream that answers as recorded, and a client that rates it."""
