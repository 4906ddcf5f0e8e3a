-- exit 0: a read that happened 9,007,199,254,740,992 times
UPDATE events SET times = 9007199254740992 WHERE kind = 'read';
