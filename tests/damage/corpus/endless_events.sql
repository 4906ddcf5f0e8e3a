-- exit 2: a view with endless rows in place of a table
ALTER TABLE events RENAME TO e;
CREATE VIEW events AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n)
SELECT i AS event, process, number, time_s, kind, call, variable, operation, version, position, replica, location,
    dtype, shape, digest, value, indices, cause, times, error, note
FROM n, (SELECT * FROM e LIMIT 1);
