"""Folders and files that commands write: what may be replaced, and how, so that nobody's files are lost."""
