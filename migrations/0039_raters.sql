-- 0039_raters: who gave each rating, and who rated each arm lately.
-- Why: a change of an arm needs the ratings of more than one caller, where there are several; and ratings of one caller
-- or source can be found to take them back.
-- What was rated before has no key: one rater, who has no key, gave all of it.
-- Locks: feedback_events while its rows are read, and histories. Old code runs on it; what it writes has no rater, and
-- router rebuild attributes it to the one without a key.
-- Undo: ALTER TABLE feedback_events DROP COLUMN key_id, DROP COLUMN source; ALTER TABLE histories DROP COLUMN raters.
ALTER TABLE feedback_events
    ADD COLUMN key_id uuid,                                              -- NULL: without a key, or an implicit signal
    ADD COLUMN source text CHECK (length(source) BETWEEN 1 AND 64);      -- as its caller named it; NULL: not named
ALTER TABLE histories
    -- {"latest": {rater: Unix time of a decision}, "rise": {rater: share of its statistic}, "fall": the same}
    ADD COLUMN raters json NOT NULL DEFAULT '{}';
UPDATE histories h
SET raters = json_build_object(
        'latest', CASE WHEN rated.latest IS NULL THEN '{}' ELSE json_build_object('', rated.latest) END,
        'rise', CASE WHEN h.rise_statistic > 0 THEN json_build_object('', h.rise_statistic) ELSE '{}' END,
        'fall', CASE WHEN h.fall_statistic > 0 THEN json_build_object('', h.fall_statistic) ELSE '{}' END),
    version = h.version + 1, changed_in = pg_current_xact_id()
FROM histories every
LEFT JOIN (
    SELECT f.tenant, f.arm_id, max(extract(epoch FROM d.decided_at)::float8) AS latest
    FROM feedback_events f
    JOIN decisions d ON d.decision_id = f.decision_id AND d.learn AND d.dialect <> 'import'
    WHERE f.signal IS NULL AND f.reward IS NOT NULL
    GROUP BY f.tenant, f.arm_id
) rated ON rated.tenant = every.tenant AND rated.arm_id = every.arm_id
WHERE h.tenant = every.tenant AND h.arm_id = every.arm_id;
