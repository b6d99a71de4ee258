-- 0002_attempts: one row for each call of a provider.
-- Why: an answer may need several arms; what each call took and cost is seen nowhere else.
-- Locks: new table only. Undo: DROP TABLE attempts.
CREATE TABLE attempts (
    attempt_id         uuid PRIMARY KEY,
    decision_id        uuid NOT NULL REFERENCES decisions (decision_id),
    tenant             text NOT NULL,
    position           integer NOT NULL CHECK (position >= 0),  -- over all calls for the decision
    arm_id             text NOT NULL,
    propensity         double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    status             text NOT NULL CHECK (status IN ('ok', 'failed', 'cancelled')),
    started_at         timestamptz NOT NULL,
    latency_s          numeric(12, 6) NOT NULL CHECK (latency_s >= 0),
    ttft_s             numeric(12, 6) CHECK (ttft_s >= 0),
    prompt_tokens      integer NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens      integer NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens  integer NOT NULL CHECK (completion_tokens >= 0),
    reasoning_tokens   integer NOT NULL CHECK (reasoning_tokens >= 0),
    usage_estimated    boolean NOT NULL,
    cost_usd           numeric(18, 9) NOT NULL CHECK (cost_usd >= 0),
    finish_reason      text,
    error_type         text,
    error_message      text,
    upstream_status    integer
);
-- find counts a decision's attempts; record lists them.
CREATE INDEX attempts_decision_id_position_idx ON attempts (decision_id, position);
