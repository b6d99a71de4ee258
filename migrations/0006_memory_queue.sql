-- 0006_memory_queue: rated decisions whose place in the vector memory is not yet up to date.
-- Why: PostgreSQL and the vector index share no transaction; what is written here in the same transaction as
-- the feedback is applied to the index until it is done.
-- Locks: new table only. Undo: DROP TABLE memory_queue (router rebuild refills the memory).
CREATE TABLE memory_queue (
    decision_id  uuid PRIMARY KEY REFERENCES decisions (decision_id),
    tenant       text NOT NULL,
    event_id     bigint NOT NULL REFERENCES feedback_events (event_id),  -- the newest
    queued_at    timestamptz NOT NULL
);
-- The queue is worked off oldest first.
CREATE INDEX memory_queue_queued_at_idx ON memory_queue (queued_at, decision_id);
