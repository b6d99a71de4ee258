-- 0014_cache_writes: tokens that a provider wrote into its prompt cache, and what they cost.
-- Why: Anthropic charges more for them than for others; counted as plain input they were booked too cheap.
-- Locks: columns that need no rewriting. Undo: ALTER TABLE attempts, outcomes, shadow_answers DROP COLUMN
-- cache_write_tokens; ALTER TABLE arms DROP COLUMN price_cache_write_usd_per_mtok.
ALTER TABLE attempts ADD COLUMN cache_write_tokens integer NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0);
ALTER TABLE outcomes ADD COLUMN cache_write_tokens integer NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0);
ALTER TABLE shadow_answers ADD COLUMN cache_write_tokens integer NOT NULL DEFAULT 0
    CHECK (cache_write_tokens >= 0);
-- NULL: as in the entry, or no price of its own.
ALTER TABLE arms ADD COLUMN price_cache_write_usd_per_mtok numeric CHECK (price_cache_write_usd_per_mtok >= 0);
