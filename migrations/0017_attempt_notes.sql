-- 0017_attempt_notes: what the router had to guess to read an answer.
-- Why: a stream without a finish reason, or with an unknown one, counts as whole; the record says so.
-- Locks: a column that needs no rewriting. Undo: ALTER TABLE attempts DROP COLUMN notes.
ALTER TABLE attempts ADD COLUMN notes text[] NOT NULL DEFAULT '{}';
