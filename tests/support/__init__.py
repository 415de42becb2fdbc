"""What tests share beside fixtures: synthetic photos, small runs, servers, and the command line in this process."""
