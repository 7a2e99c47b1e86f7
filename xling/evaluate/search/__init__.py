"""Search by shards: embeddings on storage, the best passages among them, and where the tasks for it run."""
