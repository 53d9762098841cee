"""Masks of pictures: examined, made, and read from other tools' files."""
