-- 0005_evidence: everything observed of each arm, as sums.
-- Why: a belief needs the sums only; replicas read them without touching the log.
-- NUMERIC, so that adding and taking back in any order gives the same sums to the last digit.
-- Locks: new table only. Undo: DROP TABLE evidence (router rebuild recomputes it).
CREATE TABLE evidence (
    tenant         text NOT NULL,
    arm_id         text NOT NULL,
    n              numeric NOT NULL CHECK (n >= 0),           -- weight of rated answers
    reward_sum     numeric NOT NULL CHECK (reward_sum >= 0),
    n_outcomes     bigint NOT NULL CHECK (n_outcomes >= 0),   -- answers that arrived
    latency_s_sum  numeric NOT NULL CHECK (latency_s_sum >= 0),
    cost_usd_sum   numeric NOT NULL CHECK (cost_usd_sum >= 0),
    version        bigint NOT NULL,                           -- grows with each change: of two readings, the newer
    changed_in     xid8 NOT NULL,                             -- the transaction that changed it: replicas fetch what
                                                              -- was not finished when they last looked, and no more
    PRIMARY KEY (tenant, arm_id)
) WITH (fillfactor = 50);  -- changed with every answer: room for updates in place, hence no index on changed_in
