"""Pairs of crops of one identity: which are looked at, their terms, which are kept."""
