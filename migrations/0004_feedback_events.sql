-- 0004_feedback_events: everything that was said of answers, in order; nothing is ever changed or deleted.
-- Why: evidence is a fold over these events, so it can be recomputed, and a revision can take back exactly
-- what the event before it gave.
-- Locks: new table only. Undo: DROP TABLE feedback_events.
CREATE TABLE feedback_events (
    event_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- grows in commit order per decision
    decision_id    uuid NOT NULL REFERENCES decisions (decision_id),
    tenant         text NOT NULL,
    score          double precision CHECK (score BETWEEN 0 AND 1),   -- NULL: withdrawn, or an implicit signal
    reward         numeric(7, 6) CHECK (reward BETWEEN 0 AND 1),     -- NULL: withdrawn
    weight         numeric(7, 6) CHECK (weight > 0 AND weight <= 1),
    feedback_text  text,
    arm_id         text NOT NULL,                                    -- the arm that was credited
    received_at    timestamptz NOT NULL,
    CHECK ((reward IS NULL) = (weight IS NULL))
);
-- The current event of a decision is its newest; record lists them all.
CREATE INDEX feedback_events_decision_id_event_id_idx ON feedback_events (decision_id, event_id);
