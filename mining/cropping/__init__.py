"""Cutting people and hands out of frames, and what is measured on their pixels."""
