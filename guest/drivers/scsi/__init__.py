"""The SCSI mid layer and the disk driver above any controller: commands, scan, error rules, sd."""
