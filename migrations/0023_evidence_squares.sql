-- 0023_evidence_squares: beside the sums of dollars and seconds, the sums of their squares.
-- Why: two equal means may come of equal answers or of cheap ones and a dear one; squares tell how far a mean is known.
-- Locks: outcomes, shadow_answers and evidence against writes, while the whole log is read.
-- Old code runs on it, but adds nothing to the squares and converts none of them to a new price: what it wrote after this
-- migration is repaired by router rebuild. Therefore the squares have no CHECK: what such a replica added is without
-- squares, and subtracting it with them may lead below 0.
-- Undo: DROP FUNCTION todays_usd_squares; ALTER TABLE evidence DROP COLUMN cost_usd_squares, DROP COLUMN latency_s_squares.
LOCK TABLE outcomes, shadow_answers IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE evidence ADD COLUMN cost_usd_squares numeric NOT NULL DEFAULT 0;   -- of each answer's dollars, where known
ALTER TABLE evidence ADD COLUMN latency_s_squares numeric NOT NULL DEFAULT 0;  -- of each answer's seconds
-- The sum of squares of `answers` that were billed at one price, in today's, to the last digit. Each answer's dollars c
-- become f c + d, so the sum of the squares becomes f^2 (sum of c^2) + 2 f d (sum of c) + answers d^2.
CREATE FUNCTION todays_usd_squares(
    arm text, price_version integer, answers bigint, usd numeric, usd_squares numeric
) RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT factor, added_usd FROM price_changes p
        WHERE p.arm_id = arm AND p.version > price_version
        ORDER BY p.version
    LOOP
        usd_squares := change.factor * change.factor * usd_squares + 2 * change.factor * change.added_usd * usd
            + answers * change.added_usd * change.added_usd;
        usd := usd * change.factor + answers * change.added_usd;
    END LOOP;
    RETURN usd_squares;
END
$$;
-- As router rebuild counts them.
UPDATE evidence e
SET cost_usd_squares = s.cost_usd_squares, latency_s_squares = s.latency_s_squares
FROM (
    SELECT a.tenant, a.arm_id, sum(a.latency_s * a.latency_s) AS latency_s_squares,
        coalesce(sum(todays_usd_squares(a.arm_id, a.price_version, 1, a.cost_usd, a.cost_usd * a.cost_usd))
            FILTER (WHERE a.cost_source <> 'unknown'), 0) AS cost_usd_squares
    FROM (
        SELECT o.tenant, o.arm_id, o.price_version, o.latency_s,
            coalesce(o.call_cost_usd, o.cost_usd) AS cost_usd, o.cost_source
        FROM outcomes o
        JOIN decisions d ON d.decision_id = o.decision_id
        WHERE d.learn AND o.status = 'ok' AND o.kind <> 'cache'
        UNION ALL
        SELECT s.tenant, s.arm_id, s.price_version, s.latency_s, s.cost_usd, s.cost_source
        FROM shadow_answers s
        WHERE s.status = 'ok'
    ) a
    GROUP BY a.tenant, a.arm_id
) s
WHERE e.tenant = s.tenant AND e.arm_id = s.arm_id;
