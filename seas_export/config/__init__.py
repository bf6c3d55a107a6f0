"""Configuration: defaults, YAML file, command line."""
