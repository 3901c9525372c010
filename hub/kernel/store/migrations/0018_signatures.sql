-- What was found on a document's signatures when it was taken in: state (unsigned, good, bad) and the signatures one by one.
ALTER TABLE files ADD COLUMN verdict_state text CHECK (verdict_state IN ('unsigned', 'good', 'bad')), ADD COLUMN verdict jsonb;
