"""Geometry: cameras, poses, tracks and identities, as functions over arrays."""
