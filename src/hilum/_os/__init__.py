"""The operating system. No other room knows a name that only some systems have."""
