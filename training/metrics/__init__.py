"""What a prediction is worth: metrics as the field defines them, one value for each sample.

A sample that has nothing to be judged by gets NaN, which no mean counts (`table.py`); a prediction
that is not a number is infinitely wrong. Metrics are pure functions on tensors of any device.
"""
