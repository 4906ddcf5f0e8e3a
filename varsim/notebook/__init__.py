"""Varsim's objects as HTML, for notebooks."""
