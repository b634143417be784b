"""Synthetic captures: rendered people whose cameras, keypoints, masks and identities are known
exactly.
"""
