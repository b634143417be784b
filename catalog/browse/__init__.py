"""A page to look at pairs: static files that a browser opens from disk, made from the catalog."""
