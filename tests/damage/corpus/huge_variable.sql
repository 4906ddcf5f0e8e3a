-- exit 2: the shape of a variable that no memory can hold
UPDATE variables SET shape = '[1000000, 1000000, 1000000]' WHERE variable = (SELECT min(variable) FROM variables);
