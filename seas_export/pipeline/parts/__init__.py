"""Parts of a build: what each measures or makes."""
