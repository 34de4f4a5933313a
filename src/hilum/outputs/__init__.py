"""The output folder of a run: scans, ledger, checksums, index. Everything that uses a finished run reads it here."""
