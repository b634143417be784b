"""Sources: where captures come from. One small class in one file for each kind."""
