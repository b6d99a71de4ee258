-- 0045_database_identity: tells this database from every other one.
-- Why: several deployments may share a Qdrant server, and what one of them does not know is not to be deleted there.
-- A restored dump has the same row; it differs by its server or by its number in that server.
-- Locks: none. Old code runs beside it.
-- Undo: DROP FUNCTION database_identity; DROP TABLE database_ids.
CREATE TABLE database_ids (
    is_only      boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    database_id  uuid NOT NULL
);
INSERT INTO database_ids (database_id) VALUES (gen_random_uuid());

-- The same for all connections to this database, also after a failover to a replica of its server.
CREATE FUNCTION database_identity() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    server text;
BEGIN
    BEGIN
        server := (SELECT system_identifier FROM pg_control_system());
    EXCEPTION WHEN insufficient_privilege THEN
        server := '';  -- some hosts forbid it
    END;
    RETURN (
        SELECT md5(concat_ws('/', i.database_id, server, d.oid))::uuid
        FROM database_ids i, pg_database d
        WHERE d.datname = current_database()
    );
END
$$;
