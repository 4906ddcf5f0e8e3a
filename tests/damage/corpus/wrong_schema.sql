-- exit 2: the number of an older schema, whose tables had other columns
UPDATE run SET value = '1' WHERE key = 'schema';
