"""What the commands at the top of the repository share. No command imports another command."""
