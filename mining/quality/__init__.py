"""How good mined pairs are, measured against the exact truth of synthetic captures."""
