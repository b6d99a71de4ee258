-- 0040_reverts: ratings that were taken out of all that is learned, as if they had never been sent.
-- Why: feedback of a stolen key or a broken judge is undone exactly, and the log still says what it was and who did that.
-- An event that is reverted stays as it is, with the number of its revert. Each decision that loses an event gets one more
-- with the same number and no score, so that the memory, which goes by the newest event, takes over what is left.
-- Locks: feedback_events for a moment. Old code runs on it: it reads the view and the function, which leave out what is
-- reverted, but its lists of requests may show a reverted score.
-- Undo: the view of 0012_sessions, the function of 0033_feedback_in_groups; DELETE FROM memory_queue and router rebuild;
-- ALTER TABLE feedback_events DROP COLUMN reverted_by; DROP TABLE feedback_reverts; router rebuild counts them again.
CREATE TABLE feedback_reverts (
    revert_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL,
    key_ids     uuid[],                    -- of these keys; empty: of nobody with a key; NULL: of anybody
    source      text,                      -- from this source; NULL: from any
    since       timestamptz NOT NULL,      -- received from then on,
    until       timestamptz NOT NULL,      -- and before then
    reverted_at timestamptz NOT NULL
);
ALTER TABLE feedback_events ADD COLUMN reverted_by bigint REFERENCES feedback_reverts (revert_id);

CREATE OR REPLACE VIEW verdicts AS
SELECT d.decision_id, said.score, said.reward, said.weight, said.feedback_text, said.arm_id,
    noticed.signals, noticed.signal_arms, noticed.signal_weights, said.session_id
FROM decisions d
LEFT JOIN LATERAL (
    SELECT score, reward, weight, feedback_text, arm_id, session_id
    FROM feedback_events f
    WHERE f.decision_id = d.decision_id AND f.signal IS NULL AND f.reverted_by IS NULL
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

-- As in 0033_feedback_in_groups, but for what is reverted.
CREATE OR REPLACE FUNCTION lock_for_feedback(
    tenants text[], request_ids text[], decision_ids uuid[], signal_tenants text[], signal_arms text[]
) RETURNS TABLE (
    decision_id uuid, encoder text, context bytea, answered_by text, latency_s numeric, cost_usd numeric,
    completed_at timestamptz, score double precision, reward numeric, weight numeric, feedback_text text,
    arm_id text, session_id text, signals text[], signalled_arms text[], signal_weights numeric[],
    arms_scored text[],
    history histories  -- NULL in the rows of decisions; the rows of histories have nothing else
) LANGUAGE plpgsql ROWS 10 SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    named uuid[];
    arm_tenants text[];
    arms text[];
BEGIN
    named := ARRAY(
        SELECT d.decision_id
        FROM unnest(tenants, request_ids) AS n (tenant, request_id)
        JOIN decisions d ON d.tenant = n.tenant AND d.request_id = n.request_id
        UNION
        SELECT d.decision_id
        FROM unnest(tenants, decision_ids) AS n (tenant, decision_id)
        JOIN decisions d ON d.decision_id = n.decision_id AND d.tenant = n.tenant
    );
    PERFORM FROM decisions d WHERE d.decision_id = ANY (named) ORDER BY d.decision_id FOR NO KEY UPDATE;
    RETURN QUERY
        SELECT v.decision_id, d.encoder, d.context, coalesce(o.arm_id, d.arm_id), coalesce(o.latency_s, 0),
            CASE WHEN o.cost_source = 'unknown' THEN NULL ELSE coalesce(o.call_cost_usd, o.cost_usd, 0) END,
            o.completed_at, v.score, v.reward, v.weight, v.feedback_text, v.arm_id, v.session_id, v.signals,
            v.signal_arms, v.signal_weights,
            ARRAY(
                SELECT f.arm_id FROM feedback_events f
                WHERE f.decision_id = v.decision_id AND f.signal IS NULL AND f.reward IS NOT NULL
                    AND f.reverted_by IS NULL
            ),
            NULL::histories
        FROM decisions d
        JOIN verdicts v ON v.decision_id = d.decision_id
        LEFT JOIN outcomes o ON o.decision_id = d.decision_id
        WHERE d.decision_id = ANY (named);
    SELECT array_agg(a.tenant ORDER BY a.tenant COLLATE "C", a.arm_id COLLATE "C"),
        array_agg(a.arm_id ORDER BY a.tenant COLLATE "C", a.arm_id COLLATE "C")
    INTO arm_tenants, arms
    FROM (
        SELECT d.tenant, coalesce(o.arm_id, d.arm_id) AS arm_id
        FROM decisions d
        LEFT JOIN outcomes o ON o.decision_id = d.decision_id
        WHERE d.decision_id = ANY (named) AND d.learn
        UNION
        SELECT d.tenant, f.arm_id
        FROM decisions d
        JOIN feedback_events f ON f.decision_id = d.decision_id
        WHERE d.decision_id = ANY (named) AND d.learn
        UNION
        SELECT s.tenant, s.arm_id FROM unnest(signal_tenants, signal_arms) AS s (tenant, arm_id)
    ) AS a;
    INSERT INTO histories
        (tenant, arm_id, started_at, n, reward_sum, n_changes, n_predicted, squared_errors, rise_statistic,
         rise_started_at, rise_n, rise_reward_sum, fall_statistic, fall_started_at, fall_n, fall_reward_sum,
         newest, n_rated, is_fallen, version, changed_in)
    SELECT a.tenant, a.arm_id, '-Infinity', 0, 0, 0, 0, '{0,0,0,0}', 0, '-Infinity', 0, 0, 0, '-Infinity', 0, 0,
        '-Infinity', 0, false, 0, pg_current_xact_id()
    FROM unnest(arm_tenants, arms) AS a (tenant, arm_id)
    ON CONFLICT DO NOTHING;
    decision_id := NULL;
    FOR history IN
        SELECT h.*
        FROM unnest(arm_tenants, arms) AS a (tenant, arm_id)
        JOIN histories h ON h.tenant = a.tenant AND h.arm_id = a.arm_id
        ORDER BY h.tenant COLLATE "C", h.arm_id COLLATE "C"
        FOR NO KEY UPDATE OF h
    LOOP
        RETURN NEXT;
    END LOOP;
END
$$;
