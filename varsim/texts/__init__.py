"""The sentences about variables in errors, in warnings and in the output of `explain`."""
