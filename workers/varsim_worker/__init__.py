"""The worker process, which varsim starts as a separate program."""
