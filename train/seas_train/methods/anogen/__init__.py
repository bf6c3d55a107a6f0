"""AnoGen (Gui et al., ECCV 2024): an embedding a defect, learned from a few pairs for a frozen base."""
