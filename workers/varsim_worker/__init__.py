"""The worker process: a program that the library starts by its command line."""
