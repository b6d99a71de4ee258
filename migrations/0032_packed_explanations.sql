-- 0032_packed_explanations: what a decision was based on, in two packed columns.
-- Why: as JSON it took 28 kB of text for a hundred neighbours; compressing it cost more than writing the packed form.
-- `service/domain/packed_explanation.py` reads and writes them; the first byte is the version of the form.
-- In a row of a process from before both are NULL, and the JSON of `explanation` has everything.
-- Locks: decisions, for a moment; no row is read or rewritten.
-- Undo: ALTER TABLE decisions DROP COLUMN weighed, DROP COLUMN recalled, ALTER COLUMN context SET STORAGE EXTENDED;
-- ALTER TABLE decisions RESET (toast_tuple_target).
ALTER TABLE decisions
    ADD COLUMN weighed bytea,   -- the decision's own numbers and its candidates; NULL: in `explanation`
    ADD COLUMN recalled bytea;  -- the neighbours; NULL: none, or in `explanation`
-- Packed numbers and contexts do not compress: they stay as they are, and in the row until it has 4 kB.
ALTER TABLE decisions
    ALTER COLUMN weighed SET STORAGE EXTERNAL,
    ALTER COLUMN recalled SET STORAGE EXTERNAL,
    ALTER COLUMN context SET STORAGE EXTERNAL;
ALTER TABLE decisions SET (toast_tuple_target = 4080);
