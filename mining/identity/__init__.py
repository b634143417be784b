"""Who is who: tracks in each view, joined across views into people."""
