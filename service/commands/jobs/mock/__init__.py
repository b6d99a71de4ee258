"""Answers as a file says, in the place of a provider: for tests of other people's programs."""
