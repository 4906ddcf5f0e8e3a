-- exit 2: a name that is not UTF-8
UPDATE variables SET name = CAST(x'ff41' AS TEXT) WHERE variable = (SELECT min(variable) FROM variables);
