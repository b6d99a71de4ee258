"""Show why the router chose a model, from the JSON of `/requests/ID` on standard input."""

from __future__ import annotations

import json
import sys


def main() -> None:
    record = json.load(sys.stdin)
    print(f"{len(record['neighbours'])} similar requests were recalled")
    print("             probability   predicted reward   expected cost")
    for candidate in record["candidates"]:
        predicted = candidate["predicted"][-1]  # by all experts together
        shown = (candidate["model"], candidate["probability"], predicted, candidate["expected_cost_usd"])
        print("{:10} {:13.0%} {:18.2f} {:>15}".format(*shown[:3], f"${shown[3]:.6f}"))


if __name__ == "__main__":
    main()
