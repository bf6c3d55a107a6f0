"""How the pictures of a data set compare with real ones: diversity, distance, copies, masks."""
