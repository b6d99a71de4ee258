-- 0013_newest_feedback: find what was said last in a tenant.
-- Why: difficulty is fitted to the newest rated requests, now and then, without walking past other tenants'.
-- Locks: feedback_events against writes while the index is built. Undo: DROP INDEX feedback_events_tenant_event_id_idx.
CREATE INDEX feedback_events_tenant_event_id_idx ON feedback_events (tenant, event_id);
