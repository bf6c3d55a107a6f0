"""What models are tried at: to find defects' pixels, to name them, to tell photographs with one."""
