"""The configuration: strict TOML is read into typed frozen values."""
