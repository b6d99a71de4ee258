"""Answers requests for embeddings and moderations by configured models, in their order."""
