-- exit 2: a number of 5,000 digits
UPDATE run SET value = replace(hex(zeroblob(2500)), '0', '7') WHERE key = 'events';
