"""Opens and connects everything that the service needs, in the order of need."""
