-- 0026_policies: what the policies found and did for each decision.
-- Why: a decision shows which rule narrowed its choice, by which tags, and on which tier its model is.
-- A process from before writes NULL, which reads as no tags, no rule and no tier.
-- Locks: three columns that need no rewriting. Undo: ALTER TABLE decisions DROP COLUMN tags, DROP COLUMN rule,
-- DROP COLUMN tier.
ALTER TABLE decisions
    ADD COLUMN tags jsonb,  -- NULL: none; else objects with name, value, confidence, cost_usd and source
    ADD COLUMN rule text,   -- that narrowed the choice; NULL: none
    ADD COLUMN tier text;   -- of the chosen arm; NULL: it is in no tier
