"""Cameras, rigid transforms, frames and depth images. Uses numpy alone."""
