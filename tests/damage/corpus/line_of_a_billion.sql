-- exit 0: a location with a line that no program has
UPDATE events SET location = 'program.py:999999999';
UPDATE variables SET created_at = 'program.py:99999999999999999999';
