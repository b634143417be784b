"""Cameras and clocks that nobody gave, found from the people in the footage."""
