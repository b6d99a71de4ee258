"""OpenAI Chat Completions: requests, events, errors."""
