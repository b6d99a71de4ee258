-- 0024_free_calibrations: a calibration may be limited to models that cost nothing.
-- Why: local models are free, and a limit of 0 dollars keeps every other model out.
-- Locks: calibrations, for a moment. Old code runs on it.
-- Undo: restore the constraint max_usd > 0.
ALTER TABLE calibrations
    DROP CONSTRAINT calibrations_max_usd_check,
    ADD CONSTRAINT calibrations_max_usd_check CHECK (max_usd >= 0);
