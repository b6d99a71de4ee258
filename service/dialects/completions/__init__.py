"""OpenAI's older Completions: requests, answers, events."""
