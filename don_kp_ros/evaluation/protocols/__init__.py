"""Protocols: what a model is measured on, each a configuration (config/evaluation/)."""
