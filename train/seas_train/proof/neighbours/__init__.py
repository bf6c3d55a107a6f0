"""Telling photographs with a defect from normals by their nearest neighbours, as PatchCore does."""
