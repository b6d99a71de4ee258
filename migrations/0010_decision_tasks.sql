-- 0010_decision_tasks: what kind of request the caller said it was.
-- Why: past requests of the same task say more than others; the memory must be rebuildable from here.
-- Locks: exclusive for a moment; no row is read, all have no task. Undo: ALTER TABLE decisions DROP COLUMN task.
ALTER TABLE decisions
    ADD COLUMN task text,  -- NULL: not said
    ADD CONSTRAINT decisions_task_check CHECK (char_length(task) BETWEEN 1 AND 64) NOT VALID;
