"""``xling report``: a sweep on storage as one page, and its numbers recomputed."""
