-- exit 2: the shape of a value that no memory can hold
UPDATE events SET value = NULL, digest = NULL, shape = '[1000000, 1000000, 1000000]' WHERE event = 1;
