-- 0027_complaints: a signal for an answer of which the user's next turn says that it did not work.
-- Why: "that did not work, try again" is said more often than a rating is given.
-- Locks: feedback_events, for a moment: the rows are not checked, since the new rule allows all that the old one did.
-- Old code runs on it.
-- Undo: DELETE FROM feedback_events WHERE signal = 'complaint' (first from memory_queue); restore the constraint
-- without it; router rebuild.
ALTER TABLE feedback_events
    DROP CONSTRAINT feedback_events_signal_check,
    ADD CONSTRAINT feedback_events_signal_check CHECK (signal IN
        ('provider_error', 'refusal', 'empty', 'truncated', 'invalid_schema', 'reask', 'complaint')) NOT VALID;
