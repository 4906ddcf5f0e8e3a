-- exit 3: an operation that does not exist
UPDATE events SET operation = 'multiply' WHERE event = (SELECT min(event) FROM events WHERE kind = 'write');
