"""Where the objects of a vault are kept: whole objects under keys, on a file system or, later, in an object store."""
