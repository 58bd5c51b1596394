"""What the runs say: numbers, tables, figures, verdicts on claims, a page with all of it. Never imports torch."""
