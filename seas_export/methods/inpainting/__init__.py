"""What the export of methods shares that draw into photographs with a frozen base."""
