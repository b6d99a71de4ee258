"""Has every model answer the same prompts, grades the answers, and imports the scores as evidence."""
