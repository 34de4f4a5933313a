"""Every file format: volumes, DICOM and annotations; `hilum.io.scan_files` reads a scan of any of them."""
