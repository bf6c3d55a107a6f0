"""AnomalyXFusion (Hu et al., 2024): sentences, masks and textures fused into a context a step."""
