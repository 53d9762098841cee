"""Cameras, rigid transforms, frames and depth images. Uses numpy and torch alone."""
