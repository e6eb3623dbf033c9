"""The repository on disk: frames, packs, manifests, the catalogue, the WAL archive, locks."""
