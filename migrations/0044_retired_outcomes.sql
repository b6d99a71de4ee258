-- 0044_retired_outcomes: what outcomes gave to the sums of evidence, of requests that RETENTION_DAYS deleted.
-- Why: the log need not grow for ever, and `router rebuild` must come to the same sums without the rows.
-- Locks: none, the table is new. Old code runs beside it.
-- Undo: DROP TABLE retired_outcomes; router rebuild then counts the remaining outcomes only.
CREATE TABLE retired_outcomes (
    tenant             text NOT NULL,
    arm_id             text NOT NULL,
    price_version      integer NOT NULL,         -- dollars are as billed at this price, as in `outcomes`
    n_outcomes         bigint NOT NULL CHECK (n_outcomes >= 0),
    n_unpriced         bigint NOT NULL CHECK (n_unpriced >= 0),
    latency_s_sum      numeric NOT NULL,
    latency_s_squares  numeric NOT NULL,
    cost_usd_sum       numeric NOT NULL,
    cost_usd_squares   numeric NOT NULL,
    newest_at          timestamptz NOT NULL,     -- when the latest of these requests was decided
    PRIMARY KEY (tenant, arm_id, price_version)
);
