"""Training: stream pairs from shards and pre-train. Needs neither ray, duckdb, pyarrow nor
ultralytics.
"""
