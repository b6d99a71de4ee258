"""Has the chosen model answer, falls back to others, and logs the outcome."""
