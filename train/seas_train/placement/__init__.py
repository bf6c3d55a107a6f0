"""What a checkpoint brings for placed pairs: shapes and looks of real defects, and normals to draw into."""
