"""Taking a backup: planning, copying files as frames into packs, verifying what arrived, and publishing it."""
