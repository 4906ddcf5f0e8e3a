-- exit 2: a text that NumPy reads as a dtype with fields
UPDATE variables SET dtype = 'float32,float32' WHERE variable = (SELECT min(variable) FROM variables);
