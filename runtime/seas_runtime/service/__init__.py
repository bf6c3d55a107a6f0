"""A service beside the line: a queue, an API and a page over the existing generation. Needs `[serve]`."""
