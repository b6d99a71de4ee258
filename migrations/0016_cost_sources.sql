-- 0016_cost_sources: who says what a call cost, and which calls nobody knows the cost of.
-- Why: a model without a known price was billed at 0 dollars, looked free and was chosen for it.
-- Locks: columns that need no rewriting. Undo: ALTER TABLE ... DROP COLUMN for each column.
-- provider: stated by the provider; price: tokens times the price, as were all calls before; unknown: the row
-- has 0 dollars for replicas of earlier versions, and the dollars count nowhere.
ALTER TABLE attempts ADD COLUMN cost_source text NOT NULL DEFAULT 'price'
    CHECK (cost_source IN ('provider', 'price', 'unknown'));
-- Of call_cost_usd. cost_usd is 0, too, if the cost of an earlier call is not known.
ALTER TABLE outcomes ADD COLUMN cost_source text NOT NULL DEFAULT 'price'
    CHECK (cost_source IN ('provider', 'price', 'unknown'));
ALTER TABLE shadow_answers ADD COLUMN cost_source text NOT NULL DEFAULT 'price'
    CHECK (cost_source IN ('provider', 'price', 'unknown'));
-- Those of n_outcomes that cost_usd_sum is without.
ALTER TABLE evidence ADD COLUMN n_unpriced bigint NOT NULL DEFAULT 0 CHECK (n_unpriced >= 0);
