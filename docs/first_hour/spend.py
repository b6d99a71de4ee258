"""Show what each model cost, from the JSON of `/v1/stats?baseline=MODEL` on standard input."""

from __future__ import annotations

import json
import sys


def main() -> None:
    stats = json.load(sys.stdin)
    for row in stats["per_model"]:
        print(f"{row['model']} answered {row['requests']} requests for ${row['cost_usd']:.5f}")
    saved = stats["savings"]["assumed"]
    print(
        f"without the router, {saved['baseline']} would have answered all for "
        f"${saved['baseline_cost_usd']:.5f}: {saved['saved_share']:.0%} saved"
    )


if __name__ == "__main__":
    main()
