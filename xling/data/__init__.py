"""Data sets: what a question, a passage and a parallel item are, and who reads them from where."""
