"""Where a defect goes, and in what shape: masks, places, the window around them, and pasting back."""
