-- 0030_cached_answers: answers that every replica may give again.
-- Why: with CACHE_SHARED one replica answers a request that another replica answered before. The rows have the texts of
-- answers, and with SEMANTIC_CACHE_ENABLED those of questions, also where STORE_TEXTS is off; they are deleted when
-- they expire.
-- Locks: none. Old code runs on it.
-- Undo: DROP TABLE cached_answers.
CREATE TABLE cached_answers (
    tenant        text NOT NULL,
    key           bytea NOT NULL CHECK (length(key) = 32),  -- SHA-256 of the request's content
    request_id    text NOT NULL,                            -- of the request that got the answer
    arm_id        text NOT NULL,
    body          bytea NOT NULL,                           -- a chat.completion, JSON in UTF-8: keeps every character
    conversation  bytea,                                    -- JSON; NULL: no conversation without a session id
    expires_at    timestamptz NOT NULL,
    scope         bytea,                                    -- NULL: only the same request gets the answer
    question      bytea,                                    -- UTF-8
    context       bytea,                                    -- float32, little endian
    encoder       text,                                     -- names the vector space of `context`
    PRIMARY KEY (tenant, key),
    CHECK ((scope IS NULL) = (question IS NULL) AND (scope IS NULL) = (context IS NULL)
        AND (scope IS NULL) = (encoder IS NULL))
);
-- The newest answers of a scope.
CREATE INDEX cached_answers_tenant_scope_expires_at_idx ON cached_answers (tenant, scope, expires_at DESC)
    WHERE scope IS NOT NULL;
-- Pruning begins with the oldest.
CREATE INDEX cached_answers_expires_at_idx ON cached_answers (expires_at);
