"""The networks that name the defect of a photograph."""
