-- 0018_responses: the responses that clients continue by their id, where texts are stored.
-- Why: `previous_response_id` and GET /v1/responses/{id} need the items of the request and of the answer, in every
-- replica and after a restart. Each row has the items of its own request only; the chain leads to the earlier ones.
-- Locks: none. Old code runs on it.
-- Undo: DROP TABLE responses.
CREATE TABLE responses (
    tenant       text NOT NULL,
    response_id  text NOT NULL,
    previous_id  text,                    -- the response that the request continued
    input        json NOT NULL,           -- the items of the request; json, since it keeps every character
    response     json NOT NULL,           -- the answer as its client got it
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, response_id)     -- serves find and every step of the chain
);
-- Pruning begins with the oldest.
CREATE INDEX responses_created_at_idx ON responses (created_at);
