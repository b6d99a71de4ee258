"""The providers behind the router: one HTTP server that speaks OpenAI's and Anthropic's dialects.

`script.py` decides what is answered, from words in the prompt, and `refusals.py` what a model refuses, as its
vendor would. `chat.py` and `messages.py` write the answer in a vendor's form.
"""

from tests.clients.upstream.server import Call, ScriptedUpstream, scripted_upstream

__all__ = ["Call", "ScriptedUpstream", "scripted_upstream"]
