-- 0003_outcomes: what each decision led to; the latest run stands when a request was retried.
-- Why: rewards are recomputed when weights change, so we keep what was seen, not what it was worth.
-- Locks: new table only. Undo: DROP TABLE outcomes.
CREATE TABLE outcomes (
    decision_id        uuid PRIMARY KEY REFERENCES decisions (decision_id),
    tenant             text NOT NULL,
    arm_id             text NOT NULL,  -- the arm that answered, or was tried last
    kind               text NOT NULL CHECK (kind IN
        ('exploit', 'explore', 'pinned', 'sticky', 'default', 'fallback', 'escalated', 'cache')),
    status             text NOT NULL CHECK (status IN ('ok', 'failed', 'cancelled')),
    latency_s          numeric(12, 6) NOT NULL CHECK (latency_s >= 0),
    ttft_s             numeric(12, 6) CHECK (ttft_s >= 0),
    overhead_s         numeric(12, 6) NOT NULL CHECK (overhead_s >= 0),
    prompt_tokens      integer NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens      integer NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens  integer NOT NULL CHECK (completion_tokens >= 0),
    reasoning_tokens   integer NOT NULL CHECK (reasoning_tokens >= 0),
    usage_estimated    boolean NOT NULL,
    cost_usd           numeric(18, 9) NOT NULL CHECK (cost_usd >= 0),
    finish_reason      text,
    answer_chars       integer NOT NULL CHECK (answer_chars >= 0),
    answer_digest      bytea,
    answer_text        text,           -- NULL unless texts are stored
    completed_at       timestamptz NOT NULL
);
