-- How noisy a gate is by day and half hour, what is usual for it, and when schools are open: silence is judged against them.
CREATE TABLE gate_noise (
  device text NOT NULL REFERENCES devices (id),
  day    date NOT NULL,
  slots  int[] NOT NULL CHECK (array_length(slots, 1) = 48),
  PRIMARY KEY (device, day)
) WITH (fillfactor = 60);
-- Days and half hours are local: Asia/Ho_Chi_Minh.
CREATE INDEX gate_noise_day ON gate_noise (day);

CREATE TABLE gate_habits (
  device  text NOT NULL REFERENCES devices (id),
  weekday smallint NOT NULL CHECK (weekday BETWEEN 1 AND 7),
  slots   real[] NOT NULL CHECK (array_length(slots, 1) = 48),
  days    int NOT NULL,
  PRIMARY KEY (device, weekday)
);

-- The timetable: a school with none is judged by habit alone. `school` '' in days_off: every school.
CREATE TABLE school_sessions (
  school  text NOT NULL REFERENCES schools,
  weekday smallint NOT NULL CHECK (weekday BETWEEN 1 AND 7),
  opens   time NOT NULL,
  closes  time NOT NULL CHECK (closes > opens),
  PRIMARY KEY (school, weekday, opens)
);
CREATE TABLE days_off (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  school text NOT NULL DEFAULT '',
  since  date NOT NULL,
  until  date NOT NULL CHECK (until >= since),
  title  text NOT NULL,
  actor  text NOT NULL,
  at     timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gate_noise, gate_habits, school_sessions, days_off TO hub_app;
