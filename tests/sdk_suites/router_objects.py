"""Objects that a vendor's tests expect to exist. This file is copied into its suite."""

import json
import os
import urllib.request


def stored_response() -> str:
    """The id of a new response that the router has stored."""
    request = urllib.request.Request(
        f"{os.environ['TEST_API_BASE_URL']}/responses",
        json.dumps({"model": "gpt-5.4", "input": "Hi"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["id"])
