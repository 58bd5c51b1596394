"""From an experiment to its runs: what should exist (plan), what does (store), making up the difference (execute)."""
