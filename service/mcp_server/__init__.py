"""Offers the router to MCP clients as tools and resources, which call its own HTTP API."""
