-- 0022_calibration_stops: that a calibration is to stop.
-- Why: the process that is told so need not be the one that runs it; that one looks every second.
-- Locks: a column that needs no rewriting. Undo: ALTER TABLE calibrations DROP COLUMN stop_requested.
ALTER TABLE calibrations ADD COLUMN stop_requested boolean NOT NULL DEFAULT false;
