"""What happens to a deployment in a year: deploys, typos, retention, edits, too many launches."""
