"""What compare_scores.py does: tables back into configurations, statistics on them, and sections of a page."""
