"""What the router adds to a request: time, CPU and bytes, beside the same upstream without it."""
