-- 0043_forgotten: that requests were deleted on purpose, and which replicas have yet to delete of them.
-- Why: a deletion must be provable without keeping what was deleted; the vector memory, the spools and the processes of
-- all replicas hold copies that no transaction reaches.
-- Locks: none, the tables are new. Old code runs beside it, but keeps what it has in its memory and its spool.
-- Undo: DROP TABLE forgotten_decisions, forgotten.
CREATE TABLE forgotten (
    forgotten_id    uuid PRIMARY KEY,
    selector        text NOT NULL CHECK (selector IN ('request', 'session', 'tenant', 'all')),
    digest          bytea NOT NULL CHECK (length(digest) = 32),  -- SHA-256 of forgotten_id and of what was named
    decided_before  timestamptz NOT NULL,
    counts          jsonb NOT NULL,      -- rows deleted so far, by table
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz          -- NULL: it goes on, or was interrupted before the histories followed
);

-- Ids that mean nothing any more: copies under them, wherever they come from, are not to be kept.
CREATE TABLE forgotten_decisions (
    decision_id   uuid PRIMARY KEY,
    forgotten_at  timestamptz NOT NULL,
    n_removals    smallint NOT NULL DEFAULT 0   -- from the memory; the second one, later, ends it: a replica may have
                                                -- read the decision before it was deleted and written it afterwards
);
-- What the memory has yet to remove.
CREATE INDEX forgotten_decisions_forgotten_at_idx ON forgotten_decisions (forgotten_at) WHERE n_removals < 2;
-- What is deleted here when nothing can bring it back any more.
CREATE INDEX forgotten_decisions_removed_idx ON forgotten_decisions (forgotten_at) WHERE n_removals = 2;
