-- 0029_oauth: logins at providers by OAuth, shared by all replicas.
-- Why: a token is refreshed by one replica, and a login that begins at one may end at another.
-- Tokens, verifiers and nonces are encrypted by the service; the key is not in the database.
-- Locks: none, the tables are new. Undo: DROP TABLE oauth_tokens, oauth_logins.
CREATE TABLE oauth_tokens (
    provider text PRIMARY KEY CHECK (provider <> ''),
    sealed bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 1 AND 262144),
    version uuid NOT NULL,
    obtained_at timestamptz NOT NULL,
    problem text CHECK (problem <> ''),
    leased_by uuid,
    leased_until timestamptz,
    CHECK ((leased_by IS NULL) = (leased_until IS NULL))
);

CREATE TABLE oauth_logins (
    state_digest bytea PRIMARY KEY CHECK (octet_length(state_digest) = 32),
    provider text NOT NULL CHECK (provider <> ''),
    sealed bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 1 AND 65536),
    expires_at timestamptz NOT NULL
);
