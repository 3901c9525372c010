-- What a gate's vendor signs its calls with, sealed: the account's, so several gates may have the same. It is no secret of the
-- gate, and outlives each of those.
ALTER TABLE devices ADD COLUMN signing bytea;
