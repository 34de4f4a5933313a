"""Exit statuses of the program."""

ALL_WELL, REFUSED, USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
