-- 0020_request_bodies: the bodies of users' requests, where texts are stored.
-- Why: `router calibrate --from-log` asks every model some of them again, with all their fields. Side calls, tool loops
-- and retries are not asked again, and are not stored.
-- Locks: none. Old code runs on it.
-- Undo: DROP TABLE request_bodies.
CREATE TABLE request_bodies (
    decision_id  uuid PRIMARY KEY REFERENCES decisions (decision_id) ON DELETE CASCADE,
    body         json NOT NULL,           -- in OpenAI's form; json, since it keeps every character
    stored_at    timestamptz NOT NULL
);
-- Pruning begins with the oldest.
CREATE INDEX request_bodies_stored_at_idx ON request_bodies (stored_at);
