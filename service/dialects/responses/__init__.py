"""OpenAI Responses: requests, items, tools, answers, events."""
