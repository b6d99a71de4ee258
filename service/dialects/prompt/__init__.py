"""The router's own short form: one prompt in, one text out."""
