"""Calls providers over HTTP or through LiteLLM, and turns their errors into the router's."""
