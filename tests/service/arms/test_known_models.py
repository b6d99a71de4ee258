from __future__ import annotations

from collections import Counter

from service.arms.known_models import known_models


def test_every_key_has_several_models_with_unique_ids() -> None:
    models = known_models()

    n_by_key = Counter(model["api_key_env"] for model in models)
    assert n_by_key.keys() == {"OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
    assert min(n_by_key.values()) >= 3
    assert len({model["id"] for model in models}) == len(models)


def test_every_price_is_plausible() -> None:
    for model in known_models():
        if (price := model["price"]) == "free":
            continue
        assert 0 < price["cached_input"] < price["input"] < price["output"] < 1000
        assert model["context_window"] >= 100_000


def test_every_model_of_anthropic_has_a_price_of_cache_writes() -> None:
    prices = [model["price"] for model in known_models() if "claude" in model["model"]]

    assert len(prices) >= 4
    assert all(price["cache_write"] == 1.25 * price["input"] for price in prices)
