-- 0038_limits_of_rotated_keys: whose use a limit of a key counts.
-- Why: a key that replaces another has its limits and counts with it, or a rotation would double what may be used.
-- Locks: key_limits, for a moment. Old code runs beside it, and counts a new key for itself.
-- Undo: ALTER TABLE key_limits DROP COLUMN counted_as.
ALTER TABLE key_limits ADD COLUMN counted_as uuid;  -- the first key of the row of replacements; NULL: the key itself
