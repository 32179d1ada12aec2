"""What looks after the project itself: the lock of its dependencies and the audit of that lock."""
