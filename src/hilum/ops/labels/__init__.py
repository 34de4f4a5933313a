"""Put labels that a scan came with onto its grid."""
