-- exit 2: a virtual table
DROP TABLE run;
CREATE VIRTUAL TABLE run USING fts5(key, value);
