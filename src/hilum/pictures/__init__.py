"""Pictures of scans and masks, for a person to check them by."""
