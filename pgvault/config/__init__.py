"""The configuration: strict TOML in, typed frozen values out."""
