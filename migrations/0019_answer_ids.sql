-- 0019_answer_ids: the ids of answers that their providers gave.
-- Why: feedback may name an answer by its own id. Most ids carry the decision's; a message of Anthropic's keeps its own.
-- Locks: a column that needs no rewriting, and an index over no row. Old code runs on it.
-- Undo: DROP INDEX outcomes_tenant_answer_id_idx; ALTER TABLE outcomes DROP COLUMN answer_id.
ALTER TABLE outcomes ADD COLUMN answer_id text;
-- The request of an answer, by its id.
CREATE INDEX outcomes_tenant_answer_id_idx ON outcomes (tenant, answer_id) WHERE answer_id IS NOT NULL;
