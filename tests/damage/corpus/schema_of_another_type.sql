-- exit 2: a list in place of the number of the schema
UPDATE run SET value = '[3]' WHERE key = 'schema';
