-- exit 2: a missing table
DROP TABLE events;
