"""Geometry that several stages need, as functions over arrays: cameras, poses, surfaces."""
