-- exit 2: a view with endless rows in place of a table
ALTER TABLE run RENAME TO r;
CREATE VIEW run AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT 'k' || i AS key, '1' AS value FROM n;
