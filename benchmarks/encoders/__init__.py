"""What an encoder is worth to routing, and what it costs."""
