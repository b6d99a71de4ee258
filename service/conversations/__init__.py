"""Keeps a conversation on its model, and makes its history safe for another vendor's."""
