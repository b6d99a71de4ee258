-- 0012_sessions: the arm each conversation is on, and feedback on whole conversations.
-- Why: a conversation keeps its arm, whichever replica its next request comes to; what is said of it is shared over
-- its decisions. The pin is written in the statement that logs the decision; who reads it has one row to find.
-- Locks: decisions, until the index is built over the few rows that name a session. Old code runs on it.
-- Undo: the view of 0011_signals; DROP TABLE sessions; DROP INDEX decisions_tenant_session_id_idx; ALTER TABLE decisions
-- DROP COLUMN session_key; ALTER TABLE feedback_events DROP COLUMN session_id.
CREATE TABLE sessions (
    tenant       text NOT NULL,
    key          bytea NOT NULL,          -- digest of what names the conversation
    arm_id       text NOT NULL,
    vendor       text NOT NULL,           -- who made the arm's model
    n_foreign    integer NOT NULL CHECK (n_foreign >= 0),  -- first messages that another vendor's arm may have spoken in
    turns        integer NOT NULL CHECK (turns > 0),
    holdout      boolean,                 -- the lot that was cast for all of it, as in `decisions`
    decision_id  uuid NOT NULL,           -- the newest; no reference, since pins and log are pruned apart
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, key)             -- serves find
);
-- Pruning begins with the oldest.
CREATE INDEX sessions_updated_at_idx ON sessions (updated_at);

ALTER TABLE decisions ADD COLUMN session_key bytea;  -- NULL: a request on its own
-- A conversation's newest decisions, for feedback on it.
CREATE INDEX decisions_tenant_session_id_idx ON decisions (tenant, session_id, decided_at)
    WHERE session_id IS NOT NULL;

ALTER TABLE feedback_events ADD COLUMN session_id text;  -- NULL: said of the request itself

CREATE OR REPLACE VIEW verdicts AS
SELECT d.decision_id, said.score, said.reward, said.weight, said.feedback_text, said.arm_id,
    noticed.signals, noticed.signal_arms, noticed.signal_weights, said.session_id
FROM decisions d
LEFT JOIN LATERAL (
    SELECT score, reward, weight, feedback_text, arm_id, session_id
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id AND f.signal IS NULL
    ORDER BY event_id DESC
    LIMIT 1
) said ON true
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(signal ORDER BY event_id), '{}') AS signals,
        coalesce(array_agg(arm_id ORDER BY event_id), '{}') AS signal_arms,
        coalesce(array_agg(weight ORDER BY event_id), '{}') AS signal_weights
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id AND f.signal IS NOT NULL
) noticed;
