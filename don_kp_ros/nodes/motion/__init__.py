"""Adapters of the motion port."""
