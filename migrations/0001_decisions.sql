-- 0001_decisions: one row for each decision, with all that was weighed.
-- Why: the log of what was chosen, with which probability, is what feedback, memory and evaluation start from.
-- Locks: new table only. Undo: DROP TABLE decisions.
CREATE TABLE decisions (
    decision_id      uuid PRIMARY KEY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    request_id       text NOT NULL CHECK (char_length(request_id) BETWEEN 1 AND 128),
    body_digest      bytea NOT NULL,                -- tells a retry from another request under the same id
    decided_at       timestamptz NOT NULL,
    dialect          text NOT NULL,
    stream           boolean NOT NULL,
    requested_model  text,                          -- NULL: the router chose
    kind             text NOT NULL CHECK (kind IN
        ('exploit', 'explore', 'pinned', 'sticky', 'default', 'fallback', 'escalated', 'cache')),
    arm_id           text NOT NULL,
    propensity       double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    encoder          text,                          -- names the vector space of `context`
    context          bytea,                         -- float32, little endian; NULL: the encoder was away
    n_chars          integer NOT NULL CHECK (n_chars >= 0),
    n_prompt_tokens  integer NOT NULL CHECK (n_prompt_tokens >= 0),
    learn            boolean NOT NULL,
    session_id       text,
    degraded         text[] NOT NULL,
    explanation      jsonb NOT NULL,
    query_text       text,                          -- NULL unless texts are stored
    CHECK (context IS NULL OR encoder IS NOT NULL),
    UNIQUE (tenant, request_id)                     -- one decision per request id; serves find, record, learn
);
