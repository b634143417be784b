"""The model: CroCo, its blocks and its positions."""
