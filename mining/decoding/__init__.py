"""Decoding: frames of views by time, whatever they are stored in."""
