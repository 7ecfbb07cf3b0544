"""What several commands share; nothing here is a command."""
