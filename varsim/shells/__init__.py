"""The I/O shells around the two states: sockets, clocks and processes, and no rules."""
