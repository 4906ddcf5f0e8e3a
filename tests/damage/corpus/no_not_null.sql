-- exit 2: NULL in a column that cannot be NULL
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '');
-- connect again
UPDATE events SET kind = NULL, process = NULL WHERE event = 7;
