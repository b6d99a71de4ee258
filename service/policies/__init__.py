"""Tags requests, and narrows by rules and tiers which arms may answer them."""
