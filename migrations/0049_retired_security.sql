-- 0049_retired_security: row security for retired_outcomes, as for every table of tenants.
-- Why: migration 0041 could secure only the tables that there were.
-- Locks: retired_outcomes for a moment. Old code runs beside it.
-- Undo: ALTER TABLE retired_outcomes NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY; DROP POLICY tenant ON it.
SELECT secure_rows_of_tenants('retired_outcomes');
