-- 0011_signals: implicit signals among the feedback events, and what stands of each decision.
-- Why: a failed, empty or broken answer says a little of its arm where nobody says more.
-- A process from before takes a signal for somebody's score of 0: end it before signals are written.
-- Locks: feedback_events while its rows are checked. Undo: DROP VIEW verdicts; DELETE FROM feedback_events
-- WHERE signal IS NOT NULL (first from memory_queue); drop the column; router rebuild.
ALTER TABLE feedback_events
    ADD COLUMN signal text CHECK (signal IN       -- NULL: somebody's feedback
        ('provider_error', 'refusal', 'empty', 'truncated', 'invalid_schema', 'reask')),
    ADD CHECK (signal IS NULL OR (score IS NULL AND reward = 0 AND weight IS NOT NULL));

-- A kind of signal counts once for each arm of a decision.
CREATE UNIQUE INDEX feedback_events_decision_id_arm_id_signal_idx
    ON feedback_events (decision_id, arm_id, signal) WHERE signal IS NOT NULL;

-- What was said last of each decision by somebody, withdrawals included, and all its signals.
CREATE VIEW verdicts AS
SELECT d.decision_id, said.score, said.reward, said.weight, said.feedback_text, said.arm_id,
    noticed.signals, noticed.signal_arms, noticed.signal_weights
FROM decisions d
LEFT JOIN LATERAL (
    SELECT score, reward, weight, feedback_text, arm_id
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
