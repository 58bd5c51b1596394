"""Weights of ours and of others: read, matched, exported."""
