"""Where the masks of placements come from: training masks, augmented; rectangles; a folder of one's own."""
