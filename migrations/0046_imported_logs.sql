-- 0046_imported_logs: from which databases this one got its log, by `router import` of a whole log.
-- Why: an import that was interrupted is repeated, and another log must not mix with what is there.
-- Locks: none, the table is new. Old code runs beside it.
-- Undo: DROP TABLE imported_logs; an interrupted import is then refused.
CREATE TABLE imported_logs (
    database_id  uuid PRIMARY KEY,       -- identity of the other database
    began_at     timestamptz NOT NULL
);
