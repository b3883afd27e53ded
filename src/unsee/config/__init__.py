"""A recipe (TOML) as typed, checked settings."""
