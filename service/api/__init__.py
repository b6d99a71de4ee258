"""Unpacks HTTP requests, calls one part, and answers in the client's dialect."""
