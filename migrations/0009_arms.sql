-- 0009_arms: what is decided of the arms at runtime, their price changes, and what arms in shadow answered.
-- Why: arms are added, re-priced, drained and retired without a restart, and every replica follows. Outcomes
-- keep what was billed; believed dollars are in today's prices, so the changes are kept too.
-- Locks: new tables, and a column of outcomes that needs no rewriting. Undo: DROP FUNCTION todays_usd;
-- DROP TABLE shadow_answers, price_changes, arms; ALTER TABLE outcomes DROP COLUMN price_version.
CREATE TABLE arms (
    arm_id                          text PRIMARY KEY,
    entry                           jsonb,    -- its `models:` entry; NULL: a configured arm
    price_input_usd_per_mtok        numeric CHECK (price_input_usd_per_mtok >= 0),  -- NULL: as in the entry
    price_output_usd_per_mtok       numeric CHECK (price_output_usd_per_mtok >= 0),
    price_cached_input_usd_per_mtok numeric CHECK (price_cached_input_usd_per_mtok >= 0),
    state                           text NOT NULL CHECK (state IN ('active', 'shadow', 'draining', 'retired')),
    shadow_share                    double precision CHECK (shadow_share > 0 AND shadow_share <= 1),
    shadow_usd_per_day              numeric CHECK (shadow_usd_per_day > 0),
    shadow_day                      date,     -- the UTC day that shadow_day_usd was spent on
    shadow_day_usd                  numeric NOT NULL DEFAULT 0,  -- what is reserved included
    is_newcomer                     boolean NOT NULL,  -- came when others had been rated
    reason                          text,
    added_at                        timestamptz NOT NULL,
    changed_at                      timestamptz NOT NULL,
    changed_in                      xid8 NOT NULL,     -- as in `evidence`: replicas fetch what changed
    CHECK ((price_input_usd_per_mtok IS NULL) = (price_output_usd_per_mtok IS NULL)),
    CHECK ((shadow_share IS NULL) = (shadow_usd_per_day IS NULL)),
    CHECK (state <> 'shadow' OR shadow_share IS NOT NULL)
);
-- What answers billed at older prices would cost since: usd * factor + added_usd.
CREATE TABLE price_changes (
    arm_id      text NOT NULL REFERENCES arms (arm_id),
    version     integer NOT NULL CHECK (version > 0),     -- 1, 2, ... for each arm
    changed_at  timestamptz NOT NULL,
    factor      numeric NOT NULL CHECK (factor >= 0),
    added_usd   numeric NOT NULL CHECK (added_usd >= 0),  -- per answer; above 0 where the arm was free before
    PRIMARY KEY (arm_id, version)
);
-- How often the price of its arm had changed when it was billed: a replica may not have heard of the last one.
ALTER TABLE outcomes ADD COLUMN price_version integer NOT NULL DEFAULT 0 CHECK (price_version >= 0);
-- Dollars of `answers` that were billed at one price, in today's, to the last digit.
CREATE FUNCTION todays_usd(arm text, price_version integer, answers bigint, usd numeric)
RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT factor, added_usd FROM price_changes p
        WHERE p.arm_id = arm AND p.version > price_version
        ORDER BY p.version
    LOOP
        usd := usd * change.factor + answers * change.added_usd;
    END LOOP;
    RETURN usd;
END
$$;
-- What an arm in shadow answered to a request that another arm had answered; no caller saw it.
CREATE TABLE shadow_answers (
    decision_id        uuid NOT NULL REFERENCES decisions (decision_id),
    tenant             text NOT NULL,
    arm_id             text NOT NULL REFERENCES arms (arm_id),
    status             text NOT NULL CHECK (status IN ('ok', 'failed')),
    started_at         timestamptz NOT NULL,
    latency_s          numeric(12, 6) NOT NULL CHECK (latency_s >= 0),
    prompt_tokens      integer NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens      integer NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens  integer NOT NULL CHECK (completion_tokens >= 0),
    reasoning_tokens   integer NOT NULL CHECK (reasoning_tokens >= 0),
    usage_estimated    boolean NOT NULL,
    cost_usd           numeric(18, 9) NOT NULL CHECK (cost_usd >= 0),
    price_version      integer NOT NULL CHECK (price_version >= 0),  -- as in `outcomes`
    finish_reason      text,
    error_type         text,
    error_message      text,
    upstream_status    integer,
    answer_text        text,  -- NULL unless texts are stored
    PRIMARY KEY (decision_id, arm_id)  -- serves record
);
-- GET /admin/models adds them up by arm.
CREATE INDEX shadow_answers_arm_id_idx ON shadow_answers (arm_id);
