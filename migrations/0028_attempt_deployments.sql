-- 0028_attempt_deployments: at which of its deployments an arm was called.
-- Why: an arm may have several endpoints, and the record of a request shows which of them answered or failed.
-- Locks: a column that needs no rewriting. Undo: ALTER TABLE attempts DROP COLUMN deployment.
ALTER TABLE attempts ADD COLUMN deployment text;
