-- exit 2: a text in place of bytes
UPDATE events SET value = 'abcdefgh' WHERE event = 1;
