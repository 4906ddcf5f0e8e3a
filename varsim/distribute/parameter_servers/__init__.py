"""Provide parameter servers: variables on server processes, and closures on workers."""
