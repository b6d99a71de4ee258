-- 0021_calibrations: the calibrations that were started over HTTP.
-- Why: each replica shows them, and one whose router died can go on. What was paid for stands in its journal, a file in
-- DATA_DIR.
-- Locks: none. Old code runs on it.
-- Undo: DROP TABLE calibrations.
CREATE TABLE calibrations (
    calibration_id  uuid PRIMARY KEY,
    tenant          text NOT NULL CHECK (tenant <> ''),
    options         json NOT NULL,         -- as asked for, without the prompts and the dollars
    options_digest  bytea NOT NULL,        -- of options and prompts: the same request goes on with an unfinished one
    prompts         json,                  -- NULL: it is done, and they are not needed any more
    state           text NOT NULL CHECK (state IN
        ('running', 'interrupted', 'stopped', 'failed', 'capped', 'done')),
    n_done          integer NOT NULL CHECK (n_done >= 0),
    n_total         integer NOT NULL CHECK (n_total >= n_done),
    n_problems      integer NOT NULL CHECK (n_problems >= 0),
    spent_usd       numeric NOT NULL CHECK (spent_usd >= 0),
    max_usd         numeric NOT NULL CHECK (max_usd > 0),
    rows            json NOT NULL,         -- imported rows, by what became of them
    error           text,
    report          json,
    started_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    ended_at        timestamptz
);
-- The newest of a tenant.
CREATE INDEX calibrations_tenant_started_at_idx ON calibrations (tenant, started_at);
