"""Taking a backup: the plan, the copy through frames into packs, the proof that it arrived, its publication."""
