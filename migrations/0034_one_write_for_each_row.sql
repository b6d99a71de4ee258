-- 0034_one_write_for_each_row: fewer records of the write-ahead log for each answer.
-- Why: new decisions cannot have attempts or an outcome yet, and others are locked, so neither needs the tokens with
-- which ON CONFLICT inserts. An outcome that replaces another is a new row, so that the function names no columns
-- that it only copies.
-- Locks: none. Old code runs beside it.
-- Undo: the function of 0031_group_commit.
CREATE OR REPLACE FUNCTION log_group(
    decided json,           -- of decisions
    states json,            -- of sessions, by decisions and by names of answers
    moved json,             -- of sessions without a key: that of the decision counts
    completed json,         -- of outcomes, at most one for a decision
    called json,            -- of attempts
    earlier uuid[],         -- the decisions of outcomes that are not in `decided`
    earlier_tenants text[], -- and the tenant of each
    asked uuid[],           -- decisions in `decided` whose body is stored
    bodies json[]           -- and the body of each; an array, since a row of JSON cannot have every character
)
-- A row with a problem names a decision of which nothing is written: `conflict`, its request id belongs to another
-- decision, or `unknown`, it was not logged. The rows without a problem are the sums that changed.
RETURNS TABLE (
    problem text, decision_id uuid, tenant text, arm_id text, n numeric, reward_sum numeric, n_outcomes bigint,
    latency_s_sum numeric, cost_usd_sum numeric, n_unpriced bigint, cost_usd_squares numeric,
    latency_s_squares numeric, version bigint
)
LANGUAGE plpgsql
-- The statements are planned once in a connection; a plan made while a table is small must not read all of it once
-- it has grown.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    inserted uuid[] := '{}';  -- decisions of this group
    locked uuid[] := '{}';    -- decisions that were logged before
    known uuid[];             -- both
    superseded outcomes[] := '{}';  -- of `locked`, by those of this group
    repeated record;
    change record;
BEGIN
    IF decided IS NOT NULL THEN
        WITH d AS (
            INSERT INTO decisions SELECT * FROM json_populate_recordset(NULL::decisions, decided)
            ON CONFLICT DO NOTHING
            RETURNING decision_id
        )
        SELECT coalesce(array_agg(decision_id), '{}') INTO inserted FROM d;
        IF cardinality(inserted) < json_array_length(decided) THEN
            -- A statement of its own, which sees what another transaction has committed meanwhile.
            FOR repeated IN
                SELECT g.decision_id, g.tenant, d.decision_id AS first
                FROM json_populate_recordset(NULL::decisions, decided) g
                LEFT JOIN decisions d ON d.tenant = g.tenant AND d.request_id = g.request_id
                WHERE g.decision_id <> ALL (inserted)
            LOOP
                IF repeated.first = repeated.decision_id THEN
                    earlier := earlier || repeated.decision_id;
                    earlier_tenants := earlier_tenants || repeated.tenant;
                ELSE
                    problem := 'conflict';
                    decision_id := repeated.decision_id;
                    RETURN NEXT;
                END IF;
            END LOOP;
        END IF;
    END IF;
    IF cardinality(earlier) > 0 THEN
        -- Transactions that change a decision's share of the evidence run one after the other.
        locked := ARRAY(
            SELECT d.decision_id
            FROM unnest(earlier, earlier_tenants) AS e (decision_id, tenant)
            JOIN decisions d ON d.decision_id = e.decision_id AND d.tenant = e.tenant
            ORDER BY d.decision_id
            FOR NO KEY UPDATE OF d
        );
        problem := 'unknown';
        FOREACH decision_id IN ARRAY earlier LOOP
            IF decision_id <> ALL (locked) THEN
                RETURN NEXT;
            END IF;
        END LOOP;
    END IF;
    known := inserted || locked;
    IF cardinality(asked) > 0 THEN
        INSERT INTO request_bodies (decision_id, body, stored_at)
        SELECT d.decision_id, a.body, d.decided_at
        FROM unnest(asked, bodies) AS a (decision_id, body)
        JOIN decisions d ON d.decision_id = a.decision_id
        WHERE d.decision_id = ANY (inserted);
    END IF;
    IF states IS NOT NULL THEN
        -- In one order of keys for every transaction. A state from the spool replaces no newer one.
        INSERT INTO sessions AS s
        SELECT DISTINCT ON (g.tenant, g.key) g.*
        FROM json_populate_recordset(NULL::sessions, states) g
        WHERE g.decision_id = ANY (known)
        ORDER BY g.tenant, g.key, g.updated_at DESC
        ON CONFLICT (tenant, key) DO UPDATE SET
            arm_id = excluded.arm_id, vendor = excluded.vendor, n_foreign = excluded.n_foreign,
            turns = excluded.turns, holdout = excluded.holdout, decision_id = excluded.decision_id,
            updated_at = excluded.updated_at
        WHERE s.updated_at <= excluded.updated_at;
    END IF;
    IF moved IS NOT NULL THEN
        UPDATE sessions s
        SET arm_id = g.arm_id, vendor = g.vendor, n_foreign = g.n_foreign, updated_at = g.updated_at
        FROM json_populate_recordset(NULL::sessions, moved) g
        JOIN decisions d ON d.decision_id = g.decision_id
        WHERE g.decision_id = ANY (known)
            AND s.tenant = g.tenant AND s.key = d.session_key AND s.decision_id = g.decision_id;
    END IF;
    IF called IS NOT NULL THEN
        -- Nothing else adds attempts to these decisions meanwhile: they are new, or locked.
        INSERT INTO attempts
        SELECT a.* FROM json_populate_recordset(NULL::attempts, called) a
        WHERE a.decision_id = ANY (known)
            -- Not EXISTS, which a plan for small tables answers by reading all of the table.
            AND (
                SELECT b.attempt_id FROM attempts b
                WHERE b.decision_id = a.decision_id AND b.attempt_id = a.attempt_id
            ) IS NULL;
    END IF;
    IF completed IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(locked) > 0 THEN
        -- The memory gets the new numbers of decisions that are rated.
        INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
        SELECT d.decision_id, d.tenant, e.event_id, o.completed_at
        FROM json_populate_recordset(NULL::outcomes, completed) o
        JOIN decisions d ON d.decision_id = o.decision_id
        JOIN LATERAL (
            SELECT f.event_id FROM feedback_events f WHERE f.decision_id = d.decision_id
            ORDER BY f.event_id DESC LIMIT 1
        ) e ON true
        WHERE d.decision_id = ANY (locked) AND d.learn AND d.context IS NOT NULL
        ON CONFLICT (decision_id) DO NOTHING;
        -- The outcome completed last counts, in whatever order they are written.
        WITH taken_back AS (
            DELETE FROM outcomes o USING json_populate_recordset(NULL::outcomes, completed) n
            WHERE o.decision_id = n.decision_id AND o.decision_id = ANY (locked) AND o.completed_at <= n.completed_at
            RETURNING o
        )
        SELECT coalesce(array_agg(o), '{}') INTO superseded FROM taken_back;
    END IF;
    problem := NULL;
    decision_id := NULL;
    FOR change IN
        WITH written AS (
            INSERT INTO outcomes
            SELECT o.* FROM json_populate_recordset(NULL::outcomes, completed) o
            WHERE o.decision_id = ANY (known)
                AND (SELECT newer.decision_id FROM outcomes newer WHERE newer.decision_id = o.decision_id) IS NULL
            RETURNING decision_id, tenant, arm_id, kind, status, price_version, latency_s, call_cost_usd, cost_source
        ), answers AS (
            SELECT 1 AS sign, w.* FROM written w
            UNION ALL
            SELECT -1, s.decision_id, s.tenant, s.arm_id, s.kind, s.status, s.price_version, s.latency_s,
                coalesce(s.call_cost_usd, s.cost_usd), s.cost_source
            FROM unnest(superseded) s
        ), billed AS (
            SELECT a.sign, a.tenant, a.arm_id, a.price_version, a.latency_s,
                CASE WHEN a.cost_source <> 'unknown' THEN a.call_cost_usd END AS usd
            FROM answers a
            JOIN decisions d ON d.decision_id = a.decision_id
            WHERE d.learn AND a.status = 'ok' AND a.kind <> 'cache'
        )
        SELECT tenant, arm_id, price_version, sum(sign) AS n_outcomes, sum(sign * latency_s) AS latency_s,
            sum(sign * latency_s * latency_s) AS latency_s_squares, coalesce(sum(sign * usd), 0) AS usd,
            coalesce(sum(sign * usd * usd), 0) AS usd_squares,
            coalesce(sum(sign) FILTER (WHERE usd IS NULL), 0) AS n_unpriced
        FROM billed
        GROUP BY tenant, arm_id, price_version
        ORDER BY tenant COLLATE "C", arm_id COLLATE "C", price_version
    LOOP
        LOOP
            UPDATE evidence
            SET n_outcomes = n_outcomes + change.n_outcomes,
                latency_s_sum = latency_s_sum + change.latency_s,
                cost_usd_sum = cost_usd_sum + todays_usd(
                    arm_id, change.price_version, change.n_outcomes - change.n_unpriced, change.usd),
                n_unpriced = n_unpriced + change.n_unpriced,
                cost_usd_squares = cost_usd_squares + todays_usd_squares(
                    arm_id, change.price_version, change.n_outcomes - change.n_unpriced, change.usd,
                    change.usd_squares),
                latency_s_squares = latency_s_squares + change.latency_s_squares,
                version = version + 1, changed_in = pg_current_xact_id()
            WHERE tenant = change.tenant AND arm_id = change.arm_id
            RETURNING tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, n_unpriced,
                cost_usd_squares, latency_s_squares, version
            INTO tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, n_unpriced,
                cost_usd_squares, latency_s_squares, version;
            EXIT WHEN FOUND;
            -- Not an upsert: its CHECKs would test the change, which may be negative, instead of the sum.
            INSERT INTO evidence
                (tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, version, changed_in)
            VALUES (change.tenant, change.arm_id, 0, 0, 0, 0, 0, 0, pg_current_xact_id())
            ON CONFLICT (tenant, arm_id) DO NOTHING;
        END LOOP;
        RETURN NEXT;
    END LOOP;
    IF cardinality(superseded) > 0 THEN
        UPDATE outcomes o SET answer_id = s.answer_id
        FROM unnest(superseded) s
        WHERE o.decision_id = s.decision_id AND o.answer_id IS NULL AND s.answer_id IS NOT NULL;
    END IF;
END
$$;
