"""The patterns, one module each; they do not import each other."""
