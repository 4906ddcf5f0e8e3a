-- exit 4: control characters in names, locations and texts
UPDATE variables SET name = char(27) || '[31m' || name || char(8238), created_at = char(27) || ']0;title' || char(7);
UPDATE events SET location = char(27) || '[2J.py:' || event;
UPDATE events SET note = char(27) || '[8m' || char(155), error = char(27) || 'c' WHERE kind IN ('finish', 'raise');
UPDATE run SET value = json_array(char(27) || '[31m') WHERE key = 'missing';
UPDATE run SET value = 'false' WHERE key = 'complete';
