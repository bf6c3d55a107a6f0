"""Where on a photograph a placement may lie: the part, legal and forbidden areas."""
