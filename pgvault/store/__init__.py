"""The place of a vault's objects: whole objects under keys, on a file system or, later, in an object store."""
