"""Google's Gemini API: requests, answers, events, errors, lists of models."""
