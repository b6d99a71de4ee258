-- 0007_histories: how each arm's rewards went, folded over feedback events in order.
-- Why: beliefs need more than sums: what was foretold and missed, and whether the arm is still the one it was.
-- Numbers are whole grains of 2^-20, exact in double precision; only the statistics depend on the order.
-- Locks: new table; reads the log once to begin with what is known. Undo: DROP TABLE histories (router rebuild refills it).
CREATE TABLE histories (
    tenant            text NOT NULL,
    arm_id            text NOT NULL,
    started_at        double precision NOT NULL,   -- the epoch: decisions after this Unix time count; -Infinity: all
    n                 double precision NOT NULL CHECK (n >= 0),
    reward_sum        double precision NOT NULL CHECK (reward_sum >= 0),
    n_changes         bigint NOT NULL CHECK (n_changes >= 0),
    n_predicted       double precision NOT NULL CHECK (n_predicted >= 0),
    squared_errors    double precision[] NOT NULL,  -- of each opinion, and of their mixture
    rise_statistic    double precision NOT NULL CHECK (rise_statistic >= 0),
    rise_started_at   double precision NOT NULL,    -- the epoch that begins if this side alarms
    rise_n            double precision NOT NULL,
    rise_reward_sum   double precision NOT NULL,
    fall_statistic    double precision NOT NULL CHECK (fall_statistic >= 0),
    fall_started_at   double precision NOT NULL,
    fall_n            double precision NOT NULL,
    fall_reward_sum   double precision NOT NULL,
    newest            double precision NOT NULL,    -- Unix time of the latest decision that was rated
    n_rated           double precision NOT NULL CHECK (n_rated >= 0),  -- the tenant's rated requests at that decision
    is_fallen         boolean NOT NULL,
    version           bigint NOT NULL,              -- as in evidence
    changed_in        xid8 NOT NULL,
    PRIMARY KEY (tenant, arm_id)
) WITH (fillfactor = 50);

-- What was learned before there were histories: rewards only, nothing was foretold.
INSERT INTO histories
SELECT tenant, arm_id, '-Infinity', sum(n), sum(reward_sum), 0, 0, '{0,0,0,0}',
    0, '-Infinity', sum(n), sum(reward_sum), 0, '-Infinity', sum(n), sum(reward_sum),
    max(decided_at), 0, false, 0, pg_current_xact_id()
FROM (
    SELECT f.tenant, f.arm_id, extract(epoch FROM d.decided_at)::float8 AS decided_at,
        CASE WHEN f.reward IS NOT NULL AND f.event_id = newest.event_id
            THEN round(f.weight::float8 * 1048576) / 1048576 ELSE 0 END AS n,
        CASE WHEN f.reward IS NOT NULL AND f.event_id = newest.event_id
            THEN round(f.weight::float8 * f.reward::float8 * 1048576) / 1048576 ELSE 0 END AS reward_sum
    FROM feedback_events f
    JOIN decisions d ON d.decision_id = f.decision_id AND d.learn
    JOIN LATERAL (
        SELECT event_id FROM feedback_events n WHERE n.decision_id = f.decision_id
        ORDER BY event_id DESC LIMIT 1
    ) newest ON true
) AS said
GROUP BY tenant, arm_id;
