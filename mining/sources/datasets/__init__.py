"""Public datasets: one adapter in one small file for each, from the dataset's own layout and
annotation files. What they share is in `source.py` (listing), `reader.py` (frames), `people.py`.
"""
