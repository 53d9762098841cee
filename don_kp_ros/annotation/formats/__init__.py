"""Readers of other tools' annotations, each by the rules of its format."""
