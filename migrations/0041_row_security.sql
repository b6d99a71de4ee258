-- 0041_row_security: a transaction of one tenant neither sees nor writes rows of another.
-- Why: a statement that forgets its condition on the tenant must not answer with another tenant's rows. The setting
-- `router.tenant` names the tenant of a transaction; without it all rows are seen, as by what works for all tenants
-- (writing in groups, evidence, rebuild) and by earlier versions of the service.
-- Forced, because the service owns its tables. A superuser passes row security by all the same.
-- Locks: every table of a tenant for a moment; `decisions` first, with which other transactions begin.
-- Undo: ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY; DROP POLICY tenant ON each.
CREATE FUNCTION secure_rows_of_tenants(secured regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', secured);
    -- The setting is read once in a statement. A transaction that has ended leaves it empty.
    EXECUTE format(
        'CREATE POLICY tenant ON %s USING ('
        '(SELECT coalesce(current_setting(''router.tenant'', true), '''')) IN ('''', tenant))', secured);
END
$$;

SELECT secure_rows_of_tenants(c.oid::regclass)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND NOT c.relrowsecurity
ORDER BY c.relname <> 'decisions', c.relname = 'evidence', c.relname;

-- The tenant of a body is that of its decision, of which the policy above shows the tenant's own.
ALTER TABLE request_bodies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON request_bodies USING (
    (SELECT coalesce(current_setting('router.tenant', true), '')) = ''
    OR EXISTS (SELECT FROM decisions d WHERE d.decision_id = request_bodies.decision_id)
);
