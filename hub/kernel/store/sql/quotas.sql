-- Quotas: shares of calls per second among workers, and the day's count.

-- name: quota_lock
SELECT CASE WHEN day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date THEN day_used ELSE 0 END AS day_used,
       (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day,
       extract(epoch FROM date_trunc('day', clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh') + interval '1 day'
         - (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh'))::float8 AS day_left_s
FROM quotas WHERE connector = $1 FOR UPDATE

-- name: quota_of_day
-- $2: calls of a day; whether all are granted, and when the day of Viet Nam ends.
SELECT CASE WHEN day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date THEN day_used ELSE 0 END >= $2::bigint AS used_up,
       (date_trunc('day', clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh') + interval '1 day') AT TIME ZONE 'Asia/Ho_Chi_Minh' AS anew_at
FROM quotas WHERE connector = $1

-- name: quota_share
-- $3: the quota; $4: what this worker's calls may still use of it; $5: how long the share stands. What others hold is
-- theirs until it ends or they ask for less.
WITH others AS (
  SELECT coalesce(sum(share), 0)::int AS taken, count(*)::int AS n FROM quota_shares
  WHERE connector = $1 AND worker <> $2 AND until > clock_timestamp()),
mine AS (
  SELECT coalesce((SELECT share FROM quota_shares WHERE connector = $1 AND worker = $2 AND until > clock_timestamp()), 0) AS held),
fair AS (SELECT greatest(1, $3::int / (n + 1)) AS target, taken FROM others),
put AS (
  INSERT INTO quota_shares (connector, worker, share, until)
  SELECT $1, $2, greatest(least($4::int, mine.held), least(fair.target, $3::int - fair.taken), 0),
         clock_timestamp() + $5::float8 * interval '1 second'
  FROM mine, fair
  ON CONFLICT (connector, worker) DO UPDATE SET share = excluded.share, until = excluded.until
  RETURNING share)
SELECT put.share, fair.target, mine.held FROM put, fair, mine

-- name: quota_leave
DELETE FROM quota_shares WHERE connector = $1 AND worker = $2

-- name: quota_forget
DELETE FROM quota_shares WHERE until < clock_timestamp() - interval '1 minute'

-- name: quota_spend
UPDATE quotas SET
  day_used = CASE WHEN day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date THEN day_used ELSE 0 END + $2,
  day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date
WHERE connector = $1

-- name: quota_return
UPDATE quotas SET day_used = greatest(day_used - $2, 0) WHERE connector = $1 AND day = $3
