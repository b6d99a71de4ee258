-- 0032_packed_explanations: what a decision was based on, in two packed columns.
-- Why: as JSON it took 28 kB of text for a hundred neighbours; compressing it cost more than writing the packed form.
-- `service/domain/packed_explanation.py` reads and writes them; the first byte is the version of the form.
-- In a row of a process from before both are NULL, and the JSON of `explanation` has everything.
-- Locks: decisions, for a moment; no row is read or rewritten.
-- Undo: ALTER TABLE decisions DROP COLUMN weighed, DROP COLUMN recalled, RESET (toast_tuple_target);
ALTER TABLE decisions
    ADD COLUMN weighed bytea,   -- the decision's own numbers and its candidates; NULL: in `explanation`
    ADD COLUMN recalled bytea;  -- the neighbours; NULL: none, or in `explanation`
