-- exit 2: JSON that is nested deeper than Python's stack
UPDATE run SET value = replace(hex(zeroblob(9000)), '0', '[') WHERE key = 'missing';
