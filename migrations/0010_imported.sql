-- 0010_imported: the index on time for the reports, without imported decisions.
-- Why: what was imported was asked elsewhere: it teaches, but it is no traffic of this router. As the index leaves
-- it out, the report still reads nothing of a decision but what is in there.
-- Locks: decisions, until the index is built (some 2 s per million); what is decided meanwhile waits in the spool.
-- Undo: DROP INDEX decisions_tenant_decided_at_idx, and create it as in 0008.
DROP INDEX decisions_tenant_decided_at_idx;
CREATE INDEX decisions_tenant_decided_at_idx ON decisions (tenant, decided_at)
    INCLUDE (decision_id, arm_id, kind, holdout)
    WHERE dialect <> 'import';
