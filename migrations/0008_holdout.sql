-- 0008_holdout: which decisions the default arm got by lot, and an index on time for the reports.
-- Why: what the lot gave to the default arm, and what it left to the policy, are two samples of the same traffic;
-- their difference is what routing brings. NULL: no lot was cast, because the caller named the model, the default
-- could not answer, nothing was to be learned, no share was set, or the decision is older than this column.
-- Locks: decisions, until the index is built (some 2 s per million); what is decided meanwhile waits in the spool.
-- Undo: DROP INDEX decisions_tenant_decided_at_idx; ALTER TABLE decisions DROP COLUMN holdout.
ALTER TABLE decisions ADD COLUMN holdout boolean;

-- The traffic report reads a tenant's decisions of some days. The rows are wide; what it needs of them is in here.
-- What was imported was asked elsewhere: it teaches, but it is no traffic of this router.
CREATE INDEX decisions_tenant_decided_at_idx ON decisions (tenant, decided_at)
    INCLUDE (decision_id, arm_id, kind, holdout)
    WHERE dialect <> 'import';
