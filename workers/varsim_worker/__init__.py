"""The program of the fork server and the workers, which varsim starts as separate processes."""
