"""From shards to batches: the order of the samples, reading, decoding, augmenting, masking."""
