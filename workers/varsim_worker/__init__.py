"""The worker process: a program beside the library, which knows it only by its command line."""
