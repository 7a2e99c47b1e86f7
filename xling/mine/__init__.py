"""Mining hard negatives: what an encoder ranks high for a question and does not answer it."""
