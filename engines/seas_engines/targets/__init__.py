"""What engines are built for, and how."""
