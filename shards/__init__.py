"""Shards: pairs chosen by SQL, written as WebDataset tars with an index."""
