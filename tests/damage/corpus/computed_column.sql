-- exit 2: a column that SQLite computes
ALTER TABLE variables RENAME TO v;
CREATE TABLE variables (variable INTEGER PRIMARY KEY, name TEXT NOT NULL, shape TEXT NOT NULL, dtype TEXT NOT NULL,
    requested TEXT NOT NULL, synchronization TEXT NOT NULL, aggregation TEXT NOT NULL, trainable INTEGER NOT NULL,
    created_at TEXT AS (replace(hex(zeroblob(100000000)), '00', 'abcdefgh')));
