"""Remembers rated decisions as vectors and recalls the nearest, in process or in Qdrant."""
