-- exit 2: one more column
ALTER TABLE events ADD COLUMN more TEXT;
