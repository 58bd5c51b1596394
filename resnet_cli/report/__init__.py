"""Results of runs: numbers, tables, figures, and a page with all of them. Never imports torch."""
