"""The adapters, a data set a file, and what only they share."""
