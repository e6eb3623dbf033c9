"""The repository: frames, packs, manifests, the catalogue, the WAL archive, locks."""
