-- 0015_call_dollars: what the call that answered cost by itself.
-- Why: after a fallback or an escalation an arm was believed to cost what the others' calls had cost, too.
-- Locks: a column that needs no rewriting. Undo: ALTER TABLE outcomes DROP COLUMN call_cost_usd.
-- NULL: written before, and counted with all its calls.
ALTER TABLE outcomes ADD COLUMN call_cost_usd numeric(18, 9) CHECK (call_cost_usd >= 0);
