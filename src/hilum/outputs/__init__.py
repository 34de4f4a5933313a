"""What a run leaves behind: scans, ledger, checksums, index. Everything that comes after a run reads it here."""
