"""What segmenters are trained on, and the held-out photographs that they are tested on."""
