-- Keys of the router's own. A key itself is nowhere: the digest is keyed with a secret that is not in the
-- database, so that a dump of this table lets nobody in.

CREATE TABLE api_keys (
    key_id       uuid PRIMARY KEY,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    tenant       text NOT NULL CHECK (length(tenant) BETWEEN 1 AND 128),
    scopes       text[] NOT NULL
        CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['inference', 'feedback', 'read', 'admin']),
    models       text[] CHECK (cardinality(models) > 0),
    digest       bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    secret_id    text NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    replaces     uuid REFERENCES api_keys (key_id),
    changed_in   xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- For what replicas read after each change.
CREATE INDEX api_keys_changed_in_idx ON api_keys (changed_in);
