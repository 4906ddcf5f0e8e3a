-- exit 4: variables without events
DELETE FROM events;
