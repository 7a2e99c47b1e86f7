"""Blocks as one HTML page and the files beside it."""
