-- What the doors know of gates beyond one process: when a clock was learnt, which of their own numbers came, the last stamp.

ALTER TABLE device_state
  ADD COLUMN offset_at timestamptz,
  ADD COLUMN stamp text,
  -- Numbers that came, of gates that number what they push; one range unless some are missing, or on their way by another process.
  ADD COLUMN numbers int8multirange,
  -- Since when there is more than one range, and the highest number then: what is still missing below it later is a hole.
  ADD COLUMN split_at timestamptz,
  ADD COLUMN split_below bigint;
UPDATE device_state SET offset_at = seen_at WHERE offset_s IS NOT NULL;
