"""Jobs: their journals, starting them in sessions of their own, and finding them again."""
