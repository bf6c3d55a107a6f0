"""What outlasts the process: jobs, tokens, reviews, photographs, and who did what."""
