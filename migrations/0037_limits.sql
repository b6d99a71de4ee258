-- 0037_limits: what keys, tenants and models may use in a minute, a day or a month, and what they have used.
-- Why: a limit that every process counts for itself is passed by as many processes as there are. What a call may cost is
-- held before it begins, so that calls under way cannot pass a limit together.
-- Locks: new tables and functions only. Old code runs beside it, and counts in no limit.
-- Undo: DROP FUNCTION hold_usage, settle_usage; DROP TABLE limit_holds, limit_usage, key_limits.
CREATE TABLE key_limits (
    key_id   uuid NOT NULL,
    measure  text NOT NULL CHECK (measure IN ('usd', 'tokens', 'requests')),
    period   text NOT NULL CHECK (period IN ('minute', 'day', 'month')),
    most     numeric(20, 9) NOT NULL CHECK (most >= 0),
    PRIMARY KEY (key_id, measure, period)
);

CREATE TABLE limit_usage (
    subject    text NOT NULL,                 -- `key:…`, `tenant:…` or `model:…`
    measure    text NOT NULL,
    period     text NOT NULL,
    begins_at  timestamptz NOT NULL,          -- of the period, in UTC
    used       numeric(20, 9) NOT NULL DEFAULT 0 CHECK (used >= 0),  -- with what is held
    alerted    smallint NOT NULL DEFAULT 0,   -- percent of the limit that was told last
    PRIMARY KEY (subject, measure, period, begins_at)
);

-- What a request holds is counted in `used` from the beginning. If its process ends, that is all that is ever known
-- of it, and it stays counted at its worst price; no row has to be moved when the lease ends.
CREATE TABLE limit_holds (
    hold_id     uuid NOT NULL,
    subject     text NOT NULL,
    measure     text NOT NULL,
    period      text NOT NULL,
    begins_at   timestamptz NOT NULL,
    amount      numeric(20, 9) NOT NULL CHECK (amount >= 0),
    expires_at  timestamptz NOT NULL,         -- from then on nobody waits for its settlement
    PRIMARY KEY (hold_id, subject, measure, period)
);
-- A refusal asks what is under way.
CREATE INDEX limit_holds_subject_measure_period_begins_at_idx ON limit_holds (subject, measure, period, begins_at);
-- Pruning begins with the oldest.
CREATE INDEX limit_holds_expires_at_idx ON limit_holds (expires_at);

-- Holds all amounts or none: those that the hold has already are replaced. Rows of usage are locked in one order.
CREATE FUNCTION hold_usage(
    hold uuid, subjects text[], measures text[], periods text[], amounts numeric[], mosts numeric[], lease interval
)
RETURNS TABLE (
    is_over boolean,      -- the limit leaves too little; then nothing is held
    used numeric,         -- with this hold if it is held, else without any of its own
    under_way numeric,    -- held by others whose lease has not ended; known if a limit leaves too little
    ends_in_s float8,     -- the period
    is_told boolean       -- nothing under way could leave enough, and this call is the first to find it in the period
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    current record;
    are_over boolean := false;
    overs boolean[] := '{}';
    begun timestamptz[] := '{}';
    held numeric[] := '{}';
    uses numeric[] := '{}';
    others numeric;
    told boolean;
BEGIN
    INSERT INTO limit_usage (subject, measure, period, begins_at)
    SELECT w.subject, w.measure, w.period, coalesce(h.begins_at, date_trunc(w.period, now(), 'UTC'))
    FROM unnest(subjects, measures, periods) w (subject, measure, period)
    LEFT JOIN limit_holds h ON h.hold_id = hold
        AND h.subject = w.subject AND h.measure = w.measure AND h.period = w.period
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    FOR current IN
        SELECT w.position, u.begins_at, u.used, coalesce(h.amount, 0) AS held
        FROM unnest(subjects, measures, periods) WITH ORDINALITY w (subject, measure, period, position)
        LEFT JOIN limit_holds h ON h.hold_id = hold
            AND h.subject = w.subject AND h.measure = w.measure AND h.period = w.period
        JOIN limit_usage u ON u.subject = w.subject AND u.measure = w.measure AND u.period = w.period
            AND u.begins_at = coalesce(h.begins_at, date_trunc(w.period, now(), 'UTC'))
        ORDER BY w.subject, w.measure, w.period
        FOR UPDATE OF u
    LOOP
        overs[current.position] := amounts[current.position] > current.held
            AND current.used - current.held + amounts[current.position] > mosts[current.position];
        are_over := are_over OR overs[current.position];
        begun[current.position] := current.begins_at;
        held[current.position] := current.held;
        uses[current.position] := current.used;
    END LOOP;
    FOR i IN 1 .. cardinality(subjects) LOOP
        others := 0;
        told := false;
        IF NOT are_over THEN
            uses[i] := uses[i] - held[i] + amounts[i];
            UPDATE limit_usage SET used = uses[i]
            WHERE subject = subjects[i] AND measure = measures[i] AND period = periods[i] AND begins_at = begun[i];
            INSERT INTO limit_holds VALUES
                (hold, subjects[i], measures[i], periods[i], begun[i], amounts[i], now() + lease)
            ON CONFLICT (hold_id, subject, measure, period)
            DO UPDATE SET amount = excluded.amount, expires_at = excluded.expires_at;
        ELSE
            uses[i] := uses[i] - held[i];
            SELECT coalesce(sum(h.amount), 0) INTO others FROM limit_holds h
            WHERE h.subject = subjects[i] AND h.measure = measures[i] AND h.period = periods[i]
                AND h.begins_at = begun[i] AND h.expires_at > now() AND h.hold_id <> hold;
            IF overs[i] AND uses[i] - others + amounts[i] > mosts[i] THEN
                UPDATE limit_usage SET alerted = 100
                WHERE subject = subjects[i] AND measure = measures[i] AND period = periods[i]
                    AND begins_at = begun[i] AND alerted < 100;
                told := FOUND;
            END IF;
        END IF;
        RETURN QUERY SELECT overs[i], uses[i], others, extract(epoch FROM (
            (begun[i] AT TIME ZONE 'UTC' + ('1 ' || periods[i])::interval) AT TIME ZONE 'UTC' - now()
        ))::float8, told;
    END LOOP;
END
$$;

-- Replaces what is held by what was used; NULL: nobody knows it, and what is held counts. A second settlement finds
-- nothing and changes nothing. Returns the share of a limit, in percent, that is passed for the first time in the
-- period; a limit without `mosts` is not told of.
CREATE FUNCTION settle_usage(
    hold uuid, subjects text[], measures text[], periods text[], amounts numeric[], mosts numeric[]
)
RETURNS TABLE (n bigint, share smallint, used numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM limit_usage u JOIN limit_holds h USING (subject, measure, period, begins_at)
    WHERE h.hold_id = hold
    ORDER BY u.subject, u.measure, u.period
    FOR UPDATE OF u;
    RETURN QUERY
    WITH released AS (
        DELETE FROM limit_holds WHERE hold_id = hold RETURNING *
    ), settled AS (
        SELECT r.*, w.position, w.most, coalesce(w.amount, r.amount) - r.amount AS difference,
            -- What others hold is not used yet: it would tell too soon.
            (SELECT coalesce(sum(h.amount), 0) FROM limit_holds h
                WHERE h.subject = r.subject AND h.measure = r.measure AND h.period = r.period
                    AND h.begins_at = r.begins_at AND h.expires_at > now() AND h.hold_id <> hold) AS under_way
        FROM released r
        LEFT JOIN unnest(subjects, measures, periods, amounts, mosts) WITH ORDINALITY
            w (subject, measure, period, amount, most, position) USING (subject, measure, period)
    ), changed AS (
        UPDATE limit_usage u SET
            used = u.used + s.difference,
            alerted = greatest(u.alerted, CASE
                WHEN s.most IS NULL THEN 0
                WHEN u.used + s.difference - s.under_way >= s.most THEN 100
                WHEN u.used + s.difference - s.under_way >= s.most * 0.8 THEN 80
                WHEN u.used + s.difference - s.under_way >= s.most * 0.5 THEN 50
                ELSE 0 END)
        FROM settled s, limit_usage before
        WHERE u.subject = s.subject AND u.measure = s.measure AND u.period = s.period AND u.begins_at = s.begins_at
            AND before.subject = u.subject AND before.measure = u.measure AND before.period = u.period
            AND before.begins_at = u.begins_at
        RETURNING s.position, u.alerted, before.alerted AS alerted_before, u.used
    )
    SELECT c.position, c.alerted, c.used FROM changed c
    WHERE c.alerted > c.alerted_before AND c.position IS NOT NULL;
END
$$;

-- Every process learns that the limits of a key changed.
CREATE FUNCTION notify_key_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('key_limits', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER key_limits_changed AFTER INSERT OR UPDATE OR DELETE ON key_limits
    FOR EACH STATEMENT EXECUTE FUNCTION notify_key_limits();
