"""What a pair that is drawn into a photograph is held against: its gates and its score."""
