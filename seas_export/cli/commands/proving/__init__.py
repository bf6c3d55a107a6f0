"""Commands that measure what pairs are worth."""
