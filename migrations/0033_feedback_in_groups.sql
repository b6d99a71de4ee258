-- 0033_feedback_in_groups: lock and read all that a group of feedback needs in one statement, and add its rewards in another.
-- Why: one feedback took ten round trips and two commits, and the row of an arm took one feedback for each commit.
-- Each statement of a function sees what was committed before it, so what is read after a lock is what the lock waited for.
-- Locks: none; new functions only. Undo: DROP FUNCTION lock_for_feedback, add_rewards.

-- The decisions that a group names, by request id or by their own id, and after them the histories of every arm that
-- their feedback may change, all locked until the transaction ends. A history that does not exist is created.
-- Decisions are locked in order of their ids, then histories in order of tenant and arm as bytes: every transaction
-- keeps to this order. Planning these statements for each group would take four times as long as they do. `signal_arms` are the arms that signals name, of `signal_tenants`.
CREATE FUNCTION lock_for_feedback(
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

-- Add weights and weighted rewards to the arms' sums, in the order given: sorted, so that no two transactions wait for
-- each other. Not an upsert: its CHECKs would test the change, which may be negative, instead of the sum.
CREATE FUNCTION add_rewards(tenants text[], arms text[], weights numeric[], rewards numeric[])
RETURNS SETOF evidence LANGUAGE plpgsql ROWS 10 AS $$
DECLARE
    changed evidence;
BEGIN
    FOR i IN 1 .. cardinality(arms) LOOP
        LOOP
            UPDATE evidence e
            SET n = e.n + weights[i], reward_sum = e.reward_sum + rewards[i], version = e.version + 1,
                changed_in = pg_current_xact_id()
            WHERE e.tenant = tenants[i] AND e.arm_id = arms[i]
            RETURNING e.* INTO changed;
            EXIT WHEN FOUND;
            INSERT INTO evidence
                (tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, version, changed_in)
            VALUES (tenants[i], arms[i], 0, 0, 0, 0, 0, 0, pg_current_xact_id())
            ON CONFLICT DO NOTHING;
        END LOOP;
        RETURN NEXT changed;
    END LOOP;
END
$$;
