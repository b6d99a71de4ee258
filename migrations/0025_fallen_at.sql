-- 0025_fallen_at: when an arm fell, counted in the tenant's rated requests.
-- Why: what a fallen arm's answers taught fades from then on for good; before, one rating brought it all back.
-- Arms that are fallen already fade from their latest rating on. A rebuild fades them from their fall on.
-- Locks: a column that needs no rewriting. Undo: ALTER TABLE histories DROP COLUMN fallen_at.
ALTER TABLE histories ADD COLUMN fallen_at double precision NOT NULL DEFAULT 0;
UPDATE histories SET fallen_at = n_rated, version = version + 1, changed_in = pg_current_xact_id() WHERE is_fallen;
