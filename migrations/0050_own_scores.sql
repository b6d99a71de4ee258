-- 0050_own_scores: how often a request was rated itself, without the shares of its conversation's scores.
-- Why: FEEDBACK_MAX_REVISIONS is for the former; a conversation that was rated often must not close its requests.
-- A function of its own, as what it reads must be as of after lock_for_feedback has locked the decision: each statement
-- of a volatile function sees what was committed before it.
-- Locks: none. Old code runs beside it. Undo: DROP FUNCTION n_own_scores.
CREATE FUNCTION n_own_scores(scored uuid) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT count(*) FROM feedback_events
        WHERE decision_id = scored AND signal IS NULL AND reward IS NOT NULL AND reverted_by IS NULL
            AND session_id IS NULL
    );
END
$$;
